#!/usr/bin/env bash
# Lifeboat TendHost: does one thing to a running host, by the parameter Order:
#
#   shut-out             resets every connection that came by the fixed address, and makes sure that none of them is left
#   shut-out-read-only   the same, with Weaviate's ReadOnly mode set first
#   readmit              takes the mode back
#   restart              restarts Weaviate's container
#
# Runs as the SSM document TendHost (embedded there byte for byte; host/embed.py keeps the two equal). A job id is obeyed once: when it
# comes again its stored answer is printed. The last line on stdout is the answer, one JSON object; everything else goes to stderr.
# LIFEBOAT_ROOT: see prepare-host.sh. No two opening braces may stand together in this file.
set -Eeuo pipefail
shopt -s inherit_errexit
umask 022
export LC_ALL=C

root="${LIFEBOAT_ROOT:-}"
settings="$root/etc/lifeboat"
state="$root/var/lib/lifeboat"
volatile="$root/run/lifeboat"
overrides="$root/workspace/weaviate/overrides/overrides.yaml"
job="${SSM_JobId-unset}"
order="${SSM_Order-unset}"
reset=0
remaining=0

say() { printf 'lifeboat: %s\n' "$*" >&2; }

die() { # exit code, sentence without quotes
  say "$2"
  printf '{"ok":false,"job":"%s","order":"%s","code":%s,"reset":%s,"remaining":%s,"error":"%s"}\n' "${job//[^A-Za-z0-9_-]/}" "${order//[^a-z-]/}" "$1" "$reset" "$remaining" "$2"
  exit "$1"
}

if [[ $job == unset || $order == unset || ! -v SSM_Instance ]]; then die 2 "the SSM agent did not pass JobId, Instance and Order: it must be 3.3.2746.0 or newer"; fi
if [[ ! $job =~ ^[A-Za-z0-9_-]{1,100}$ ]]; then die 2 "parameter JobId is malformed"; fi
if [[ ! $SSM_Instance =~ ^i-[0-9a-f]{8,17}$ ]]; then die 2 "parameter Instance is malformed"; fi
if [[ ! $order =~ ^(shut-out|shut-out-read-only|readmit|restart)$ ]]; then die 2 "parameter Order is malformed"; fi
known="$root/var/lib/cloud/data/instance-id"
if [[ -r $known && $(<"$known") != "$SSM_Instance" ]]; then die 2 "the job is for another instance"; fi
if [[ ! -r $settings/host.conf ]]; then die 1 "PrepareHost has not run on this host"; fi
declare -A p
# shellcheck source=/dev/null
source "$settings/host.conf"
address=${p[FixedAddress]}

mkdir -p "$state/jobs" "$volatile"
exec 9>"$volatile/lock"
if ! flock -n 9; then die 75 "another job is at work on this host"; fi
if [[ -f $state/jobs/$job.answer ]]; then
  cat "$state/jobs/$job.answer"
  exit 0
fi

set_mode() { # ReadOnly, or nothing. Weaviate reads the file every few seconds; a spelling that it does not know would let every write through.
  local new
  if [[ ! -f $overrides ]]; then die 4 "the overrides file is not there, so that Weaviate never looks at it"; fi
  new=$(mktemp "$overrides.XXXXXX")
  grep -vE '^(operational_mode:.*|\{\})$' "$overrides" >"$new" || true
  if [[ $1 == ReadOnly ]]; then printf 'operational_mode: ReadOnly\n' >>"$new"; fi
  if [[ ! -s $new ]]; then printf '{}\n' >"$new"; fi
  chmod 0644 "$new"
  mv -f "$new" "$overrides"
}

connections() { # of clients to the fixed address, one a line, by the cookie that the kernel never gives twice
  ss -H -t -n -e state connected src "$address" "( sport = :8080 or sport = :50051 )" | grep -oE 'sk:[0-9a-f]+' || true
}

left_of() { # cookies; prints how many of them are there still
  local now
  now=$(connections)
  grep -cxF -f <(printf '%s\n' "$1") <<<"$now" || true
}

reset_connections() {
  local before try
  before=$(connections)
  if [[ -z $before ]]; then return; fi
  reset=$(wc -l <<<"$before")
  for ((try = 1; try <= 20; try++)); do
    # Kills whatever is there; what comes meanwhile is a reader's, who connects again. It needs INET_DIAG_DESTROY in the kernel.
    ss -K -H -t -n state connected src "$address" "( sport = :8080 or sport = :50051 )" >/dev/null
    remaining=$(left_of "$before")
    if ((remaining == 0)); then return; fi
    sleep 0.2
  done
  die 10 "connections that were reset are there still: does this kernel have INET_DIAG_DESTROY?"
}

case $order in
  shut-out)
    reset_connections
    ;;
  shut-out-read-only)
    set_mode ReadOnly
    reset_connections
    ;;
  readmit)
    set_mode none
    ;;
  restart)
    docker restart -t 60 weaviate >&2
    ;;
esac

new=$(mktemp "$state/jobs/$job.XXXXXX")
printf '{"ok":true,"job":"%s","order":"%s","reset":%s,"remaining":%s}\n' "$job" "$order" "$reset" "$remaining" >"$new"
mv -f "$new" "$state/jobs/$job.answer"
cat "$state/jobs/$job.answer"
