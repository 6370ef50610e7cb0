#!/usr/bin/env bash
# Lifeboat ProbeHost: says what only the host can see. Reads, changes nothing, may run any number of times.
#
# Runs as the SSM document ProbeHost (embedded there byte for byte; host/embed.py keeps the two equal). The last line on stdout is one
# JSON object. What cannot be read is told as the worse answer (false, 0), never left out: a gate is opened on these figures.
# LIFEBOAT_ROOT: see prepare-host.sh. No two opening braces may stand together in this file.
set -euo pipefail

root="${LIFEBOAT_ROOT:-}"
library="$root/usr/local/lib/lifeboat"
mount_point="$root/workspace/weaviate"
data="$mount_point/data"

job="${SSM_JobId-unset}"
if [[ ! $job =~ ^[A-Za-z0-9_-]{0,100}$ ]]; then
  printf '{"ok":false,"job":"","code":2,"error":"parameter JobId is malformed"}\n'
  exit 2
fi
if [[ $job == unset ]]; then
  printf '{"ok":false,"job":"","code":2,"error":"the SSM agent did not pass JobId: it must be 3.3.2746.0 or newer"}\n'
  exit 2
fi
if [[ ! -x $library/host ]]; then
  printf '{"ok":false,"job":"%s","code":1,"error":"PrepareHost has not run on this host"}\n' "$job"
  exit 1
fi

container_running=false
if [[ $(docker inspect -f '{''{.State.Running}''}' weaviate 2>/dev/null) == true ]]; then container_running=true; fi

mount_ok=false
free_bytes=0
if "$library/host" check-mount >&2; then
  mount_ok=true
  free_bytes=$(df -B1 --output=avail "$mount_point" | tail -n 1)
fi

# Connections that came to the fixed address since the firewall was last loaded.
firewall_ok=false
accepted=0
if counter=$(nft -j list counter inet lifeboat fixed_in) && [[ $counter =~ \"packets\":[[:space:]]*([0-9]+) ]]; then
  firewall_ok=true
  accepted=${BASH_REMATCH[1]}
fi

printf '{"ok":true,"job":"%s","container_running":%s,"accepted_via_fixed":%s,"firewall_ok":%s,"mount_ok":%s,"free_bytes":%s,"data_path":"%s"}\n' \
  "$job" "$container_running" "$accepted" "$firewall_ok" "$mount_ok" "${free_bytes//[[:space:]]/}" "$data"
