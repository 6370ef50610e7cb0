#!/usr/bin/env bash
# Lifeboat PrepareHost: makes this instance a Weaviate host, from bare instance store to a started container.
#
# Runs as the SSM document PrepareHost (embedded there byte for byte; host/embed.py keeps the two equal). Every step converges, so a
# second job changes only what is not yet as it should be. A job id is obeyed once: when it comes again its stored answer is printed.
# The last line on stdout is the answer, one JSON object; everything else goes to stderr. Exit codes: host/README.md.
#
# LIFEBOAT_ROOT puts a directory before every absolute path, so that tests can run this in a sandbox. It is empty on a host.
# No two opening braces may stand together in this file: SSM would take them for a reference to a parameter.
set -Eeuo pipefail
shopt -s inherit_errexit
umask 022
export LC_ALL=C

root="${LIFEBOAT_ROOT:-}"
library="$root/usr/local/lib/lifeboat"
settings="$root/etc/lifeboat"
units="$root/etc/systemd/system"
state="$root/var/lib/lifeboat"
volatile="$root/run/lifeboat"
mount_point="$root/workspace/weaviate"
data="$mount_point/data"
overrides="$mount_point/overrides"
label=lifeboat
container=weaviate
keys_file="$volatile/weaviate/keys.json"
error_file=""
step=parameters
step_code=2
declare -A p

# ---- telling ------------------------------------------------------------------------------------------------------------------

say() { printf 'lifeboat: %s\n' "$*" >&2; }

begin() { # name, exit code when something unexpected fails in it
  step=$1
  step_code=$2
  say "step $step"
}

die() { # exit code, sentence
  say "$2"
  if [[ -n $error_file && ! -s $error_file ]]; then printf '%s\n%s\n%s\n' "$1" "$step" "$2" >"$error_file"; fi
  exit "$1"
}

# shellcheck disable=SC2329  # the ERR trap calls it
unexpected() { # source text of the command (never its expansion, which may hold a secret), line; the last one told is the one that ended it
  printf '%s\n%s\n%s\n' "$step_code" "$step" "failed at line $2: ${1%%$'\n'*}" >"$error_file.unexpected"
}

json_text() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//[[:cntrl:]]/ }"
}

# ---- parameters ---------------------------------------------------------------------------------------------------------------

parameter() { # name, pattern
  local variable="SSM_$1"
  if [[ ! -v $variable ]]; then
    die 2 "the SSM agent did not pass $1 in \$$variable: it must be 3.3.2746.0 or newer (interpolationType ENV_VAR)"
  fi
  if [[ ! ${!variable} =~ ^($2)$ ]]; then die 2 "parameter $1 does not match ^($2)\$"; fi
  p[$1]=${!variable}
}

read_parameters() {
  local key_name='/[A-Za-z0-9_./-]{1,500}'
  parameter JobId '[A-Za-z0-9_-]{1,100}'
  parameter Instance 'i-[0-9a-f]{8,17}'
  parameter Cluster '[a-z0-9][a-z0-9-]{0,39}'
  parameter NodeName '[A-Za-z0-9][A-Za-z0-9_-]{0,62}'
  parameter Bucket '[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]'
  parameter Region '[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}'
  parameter BackupPath '[A-Za-z0-9_-]{1,64}'
  parameter S3Endpoint '[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?'
  parameter S3UseSsl 'true|false'
  parameter Image '[A-Za-z0-9][A-Za-z0-9_./:-]{0,254}@sha256:[0-9a-f]{64}'
  parameter ImageArchiveKey '|images/[0-9a-f]{64}'
  parameter OperatorKeyParameter "$key_name"
  parameter IndexerKeyParameter "|$key_name"
  parameter ReaderKeyParameter "|$key_name"
  parameter FixedAddress '[0-9]{1,3}(\.[0-9]{1,3}){3}'
  parameter ExtraModules '|[a-z0-9-]+(,[a-z0-9-]+)*'
  parameter ExtraEnvironment '|[A-Z][A-Z0-9_]*=[A-Za-z0-9_./:,@%+-]*(;[A-Z][A-Z0-9_]*=[A-Za-z0-9_./:,@%+-]*)*'
}

this_instance_is_meant() {
  local known="$root/var/lib/cloud/data/instance-id" own
  if [[ -r $known ]]; then
    own=$(<"$known")
    if [[ $own != "${p[Instance]}" ]]; then die 2 "this is $own, the job is for ${p[Instance]}"; fi
  fi
}

# ---- the disk -----------------------------------------------------------------------------------------------------------------

instance_disks() { # by model: device names change from boot to boot, and an EBS volume has another model
  local rows path model
  rows=$(lsblk -dno PATH,MODEL)
  while read -r path model; do
    if [[ $model == "Amazon EC2 NVMe Instance Storage" ]]; then printf '%s\n' "$path"; fi
  done <<<"$rows" | sort -V
}

rests_on_instance_store() { # device
  local disks rows path type some=no
  disks=$(instance_disks)
  rows=$(lsblk -snlo PATH,TYPE "$1")
  while read -r path type; do
    if [[ $type != disk ]]; then continue; fi
    some=yes
    if ! grep -qxF -e "$path" <<<"$disks"; then return 1; fi
  done <<<"$rows"
  [[ $some == yes ]]
}

contents_of() { # device; prints nothing, ours, member (of our array) or other
  local tags status=0
  tags=$(blkid -p -o export "$1") || status=$?
  if ((status == 2)); then
    printf 'nothing'
  elif ((status != 0)); then
    die 4 "blkid cannot tell what is on $1 (exit $status); it is left as it is"
  elif grep -qx "LABEL=$label" <<<"$tags" && grep -qx 'TYPE=xfs' <<<"$tags"; then
    printf 'ours'
  elif grep -qx 'TYPE=linux_raid_member' <<<"$tags" && grep -qx "LABEL=any:$label" <<<"$tags"; then
    printf 'member'
  else
    printf 'other'
  fi
}

array_over() { # disk; prints the array that already runs on it, if any
  local rows path type
  rows=$(lsblk -nlo PATH,TYPE "$1")
  while read -r path type; do
    if [[ $type == raid0 ]]; then
      printf '%s\n' "$path"
      return
    fi
  done <<<"$rows"
}

one_device() { # disks; prints the device that carries the file system
  if (($# == 1)); then
    printf '%s\n' "$1"
    return
  fi
  local disk device members=0
  command -v mdadm >/dev/null || dnf install -y mdadm >&2
  for disk in "$@"; do
    case $(contents_of "$disk") in
      nothing) ;;
      member) members=$((members + 1)) ;;
      *) die 4 "$disk bears something that is not Lifeboat's; it is left as it is" ;;
    esac
  done
  device="/dev/md/$label"
  if ((members == 0)); then
    mdadm --create "$device" --run --level=0 --homehost=any --name="$label" --raid-devices=$# "$@" >&2
  elif ((members == $#)); then
    local running
    running=$(array_over "$1")
    if [[ -n $running ]]; then device=$running; else mdadm --assemble "$device" "$@" >&2; fi
  else
    die 4 "only $members of $# instance-store disks belong to Lifeboat's array"
  fi
  printf '%s\n' "$device"
}

mounted_device() { findmnt -n -o SOURCE --mountpoint "$mount_point" || printf ''; }

# shellcheck disable=SC2329  # the installed host command calls it
check_mount() { # the gate before every start of Weaviate, also at boot: never start empty on the root volume
  check_device
  check_marker
}

check_device() {
  local device
  device=$(mounted_device)
  if [[ -z $device ]]; then die 4 "$mount_point is not a mount point"; fi
  if ! rests_on_instance_store "$device"; then die 4 "$mount_point is on $device, which is not instance store"; fi
}

check_marker() {
  if [[ ! -f $data/.lifeboat ]]; then die 4 "$data bears no marker of Lifeboat"; fi
  if [[ $(<"$data/.lifeboat") != "$(marker)" ]]; then die 4 "$data belongs to $(<"$data/.lifeboat"), not to $(marker)"; fi
}

marker() { printf '{"cluster":"%s","instance":"%s"}' "${p[Cluster]}" "${p[Instance]}"; }

prepare_disk() {
  begin disk 3
  local disks=() device found
  found=$(instance_disks)
  if [[ -n $found ]]; then mapfile -t disks <<<"$found"; fi
  if ((${#disks[@]} == 0)); then die 3 "this instance has no instance store: choose an instance type with NVMe of its own"; fi

  begin mount 4
  if [[ -z $(mounted_device) ]]; then
    device=$(one_device "${disks[@]}")
    case $(contents_of "$device") in
      nothing) mkfs.xfs -K -L "$label" "$device" ;;
      ours) say "$device bears our file system: mounted as it is" ;;
      *) die 4 "$device bears something that is not Lifeboat's; it is left as it is" ;;
    esac
    mkdir -p "$mount_point"
    mount -t xfs -o noatime "$device" "$mount_point"
  fi
  check_device

  if [[ ! -f $data/.lifeboat ]]; then
    if [[ -d $data && -n $(ls -A "$data") ]]; then die 4 "$data has files but no marker of Lifeboat"; fi
    mkdir -p "$data"
    marker | write_file "$data/.lifeboat" 0644
  fi
  # The override file must exist before the start: without it Weaviate never looks again. A mode already set there outlives a restart.
  mkdir -p "$overrides"
  if [[ ! -f $overrides/overrides.yaml ]]; then printf '{}\n' | write_file "$overrides/overrides.yaml" 0644; fi
  chmod 0750 "$data"
  own "$data" "$data/.lifeboat"
  check_marker
}

own() { # files; Weaviate runs as 1000:1000. Only a sandbox may lack the right to give files away.
  if [[ $EUID -ne 0 && -n $root ]]; then return; fi
  chown 1000:1000 "$@"
}

write_file() { # path, mode; content on stdin; readers see the old file or the new one
  local new
  mkdir -p "${1%/*}"
  new=$(mktemp "$1.XXXXXX")
  cat >"$new"
  chmod "$2" "$new"
  mv -f "$new" "$1"
}

# ---- units: mount, firewall, docker, weaviate, in this order at every boot ------------------------------------------------------

install_units() {
  begin units 4
  {
    printf '#!/usr/bin/env bash\n# Installed by Lifeboat PrepareHost; called by its systemd units.\nset -euo pipefail\nshopt -s inherit_errexit\n'
    declare -p root settings mount_point data overrides container keys_file
    printf 'error_file=""\nexport LC_ALL=C\n'
    printf 'declare -A p\nsource "%s/host.conf"\n' "$settings"
    declare -f say die instance_disks rests_on_instance_store mounted_device marker check_mount check_device check_marker write_file own aws_cli quoted fetch_keys start_weaviate
    # shellcheck disable=SC2016  # expands when the installed file runs
    printf 'case "${1:-}" in\n  check-mount) check_mount ;;\n  start) start_weaviate ;;\n  *) die 2 "unknown command" ;;\nesac\n'
  } | write_file "$library/host" 0755

  write_file "$units/workspace-weaviate.mount" 0644 <<UNIT
[Unit]
Description=Lifeboat: instance store for Weaviate
Before=docker.service

[Mount]
What=/dev/disk/by-label/$label
Where=$mount_point
Type=xfs
Options=noatime

[Install]
WantedBy=multi-user.target
UNIT
  write_file "$units/lifeboat-firewall.service" 0644 <<UNIT
[Unit]
Description=Lifeboat: host firewall
Wants=network-pre.target
Before=network-pre.target docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=nft -f $settings/firewall.nft

[Install]
WantedBy=multi-user.target
UNIT
  # A container that Docker itself brings back must find the mount too.
  write_file "$units/docker.service.d/lifeboat.conf" 0644 <<UNIT
[Unit]
RequiresMountsFor=$mount_point
After=lifeboat-firewall.service
UNIT
  write_file "$units/lifeboat-weaviate.service" 0644 <<UNIT
[Unit]
Description=Lifeboat: Weaviate
RequiresMountsFor=$mount_point
Requires=docker.service lifeboat-firewall.service
Wants=network-online.target
After=docker.service lifeboat-firewall.service network-online.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$library/host start
ExecStop=docker stop -t 60 $container
TimeoutStartSec=300
TimeoutStopSec=90
Restart=on-failure
RestartSec=10

[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  systemctl enable workspace-weaviate.mount lifeboat-firewall.service docker.service lifeboat-weaviate.service
}

prepare_firewall() { # security groups are the gate; this counts who came by the fixed address, and hides what Weaviate binds on all interfaces
  begin firewall 9
  command -v nft >/dev/null || dnf install -y nftables
  write_file "$settings/firewall.nft" 0644 <<NFT
table inet lifeboat
delete table inet lifeboat
table inet lifeboat {
  counter fixed_in {
  }
  chain inbound {
    type filter hook input priority -10; policy drop;
    iif "lo" accept
    ip daddr ${p[FixedAddress]} tcp dport { 8080, 50051 } ct state new counter name "fixed_in"
    ct state established,related accept
    tcp dport { 8080, 50051 } accept
    meta l4proto { icmp, ipv6-icmp } accept
    udp dport { 68, 546 } accept
  }
}
NFT
  systemctl restart lifeboat-firewall.service
}

# ---- docker and the image -----------------------------------------------------------------------------------------------------

aws_cli() { aws --region "${p[Region]}" --cli-connect-timeout 5 --cli-read-timeout 60 "$@"; }

s3() { # s3api verb and arguments, by the endpoint that Weaviate will use
  local scheme=https
  if [[ ${p[S3UseSsl]} == false ]]; then scheme=http; fi
  aws_cli --endpoint-url "$scheme://${p[S3Endpoint]}" s3api "$@"
}

prepare_docker() {
  begin docker 7
  command -v docker >/dev/null || dnf install -y docker
  # A crash or an upgrade of the Docker daemon must not take Weaviate down.
  if [[ ! -e $root/etc/docker/daemon.json ]]; then printf '{"live-restore": true}\n' | write_file "$root/etc/docker/daemon.json" 0644; fi
  systemctl start docker.service
}

image_id() { # reference
  docker image inspect -f '{''{.Id}''}' "$1"
}

prepare_image() {
  begin image 5
  local id archive sum loaded reference
  if [[ -z ${p[ImageArchiveKey]} ]]; then
    if ! id=$(image_id "${p[Image]}"); then
      docker pull --quiet "${p[Image]}"
      id=$(image_id "${p[Image]}")
    fi
  else
    sum=${p[ImageArchiveKey]#images/}
    local known="$state/images/$sum.id"
    if [[ -f $known ]] && id=$(image_id "$(<"$known")"); then
      say "image archive $sum is loaded already"
    else
      mkdir -p "$state/images"
      archive="$state/images/$sum.archive"
      s3 get-object --bucket "${p[Bucket]}" --key "${p[ImageArchiveKey]}" "$archive"
      if ! printf '%s  %s\n' "$sum" "$archive" | sha256sum --check --status; then
        rm -f "$archive"
        die 5 "s3://${p[Bucket]}/${p[ImageArchiveKey]} does not have the SHA-256 in its name: not loaded"
      fi
      loaded=$(docker load -i "$archive")
      rm -f "$archive"
      if [[ ! $loaded =~ ^"Loaded image"(" ID")?": "([^[:space:]]+)$ ]]; then die 5 "the archive must hold exactly one image; docker load said: $loaded"; fi
      reference=${BASH_REMATCH[2]}
      id=$(image_id "$reference")
      printf '%s\n' "$id" | write_file "$known" 0644
    fi
  fi
  if [[ ! $id =~ ^sha256:[0-9a-f]{64}$ ]]; then die 5 "docker named no image id"; fi
  p[ImageId]=$id
}

# ---- rights, configuration, keys ----------------------------------------------------------------------------------------------

probe_s3() { # Weaviate resolves its credentials once, at its start, and is anonymous for ever when they are not there yet
  begin s3_rights 8
  local key="runs/host/${p[Instance]}.json" sent="$volatile/probe.sent" got="$volatile/probe.got" try
  printf '{"cluster":"%s","instance":"%s","job":"%s"}\n' "${p[Cluster]}" "${p[Instance]}" "${p[JobId]}" | write_file "$sent" 0644
  for ((try = 1; try <= ${LIFEBOAT_PROBE_TRIES:-12}; try++)); do
    rm -f "$got"
    if s3 put-object --bucket "${p[Bucket]}" --key "$key" --body "$sent" >&2 &&
      s3 get-object --bucket "${p[Bucket]}" --key "$key" "$got" >&2 && cmp -s "$sent" "$got"; then
      rm -f "$sent" "$got"
      return
    fi
    say "S3 probe $try failed"
    sleep "${LIFEBOAT_PROBE_PAUSE_S:-5}"
  done
  die 8 "cannot put and get s3://${p[Bucket]}/$key: credentials, role, bucket policy or endpoint"
}

# AUTHENTICATION_APIKEY_ENABLED stands here too, although the keys' file says it: Weaviate ignores a file that it cannot read and would
# let everybody in; with this it refuses to start.
weaviate_environment() {
  cat <<ENV
AWS_REGION=${p[Region]}
CLUSTER_HOSTNAME=${p[NodeName]}
CLUSTER_BIND_ADDR=127.0.0.1
CLUSTER_ADVERTISE_ADDR=127.0.0.1
CLUSTER_GOSSIP_BIND_PORT=7946
CLUSTER_DATA_BIND_PORT=7947
RAFT_BOOTSTRAP_EXPECT=1
PERSISTENCE_DATA_PATH=$data
ENABLE_MODULES=backup-s3${p[ExtraModules]:+,${p[ExtraModules]}}
BACKUP_S3_BUCKET=${p[Bucket]}
BACKUP_S3_PATH=${p[BackupPath]}
BACKUP_S3_ENDPOINT=${p[S3Endpoint]}
BACKUP_S3_USE_SSL=${p[S3UseSsl]}
BACKUP_SKIP_ACCESS_CHECK=true
BACKUP_SPLIT_FILE_SIZE=256MiB
ENABLE_CLEANUP_UNFINISHED_BACKUPS=false
RUNTIME_OVERRIDES_ENABLED=true
RUNTIME_OVERRIDES_PATH=$overrides/overrides.yaml
RUNTIME_OVERRIDES_LOAD_INTERVAL=5s
DISABLE_TELEMETRY=true
GO_PROFILING_DISABLE=true
AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED=false
AUTHENTICATION_APIKEY_ENABLED=true
ENV
}

write_configuration() {
  begin configuration 2
  local ours theirs line name
  ours=$(weaviate_environment)
  theirs=${p[ExtraEnvironment]//;/$'\n'}
  while read -r line; do
    name=${line%%=*}
    if [[ -z $name ]]; then continue; fi
    # What Lifeboat sets, credentials, and the keys' lists are not the user's to change: a backup would fail or leave the bucket.
    if grep -q "^$name=" <<<"$ours" || [[ $name == AWS_* || $name == BACKUP_S3_* || $name == AUTHENTICATION_* || $name == AUTHORIZATION_* ]]; then
      die 2 "ExtraEnvironment may not set $name"
    fi
  done <<<"$theirs"
  printf '%s\n%s\n' "$ours" "$theirs" | sed '/^$/d' | write_file "$settings/weaviate.env" 0644
  p[ConfigurationDigest]=$({ cat "$settings/weaviate.env"; printf '%s\n' "${p[ImageId]}" "${p[OperatorKeyParameter]}" "${p[IndexerKeyParameter]}" "${p[ReaderKeyParameter]}"; } | sha256sum | cut -d' ' -f1)
  declare -p p | sed 's/^declare -A /declare -gA /' | write_file "$settings/host.conf" 0644
}

fetch_keys() { # at every start, because /run is empty after a boot; Weaviate reads them from this file and from nowhere else
  local names=() users=() values user name query="" i
  for user in operator indexer reader; do
    case $user in
      operator) name=${p[OperatorKeyParameter]} ;;
      indexer) name=${p[IndexerKeyParameter]} ;;
      *) name=${p[ReaderKeyParameter]} ;;
    esac
    if [[ -z $name ]]; then continue; fi
    names+=("$name")
    users+=("$user")
    query+="${query:+,}Parameters[?Name=='$name'].Value|[0]"
  done
  # One call for all, and the values on stdout: they never stand in an argument or a message.
  if ! values=$(aws_cli ssm get-parameters --names "[$(quoted "${names[@]}")]" --with-decryption --query "[$query]" --output text); then
    die 6 "cannot read the SSM parameters ${names[*]}"
  fi
  IFS=$'\t' read -ra values <<<"$values"
  for i in "${!names[@]}"; do
    if [[ ${values[i]:-None} == None ]]; then die 6 "there is no SSM parameter ${names[i]}"; fi
    if [[ ! ${values[i]} =~ ^[[:graph:]]+$ || ${values[i]} == *[,\"\\]* ]]; then
      die 6 "the value of ${names[i]} has a space, a line break, a comma, a quote or a backslash in it"
    fi
  done
  {
    printf '{"authentication":{"anonymous_access":{"enabled":false},"apikey":{"enabled":true,"allowed_keys":[%s],"users":[%s]}},' \
      "$(quoted "${values[@]}")" "$(quoted "${users[@]}")"
    printf '"authorization":{"admin_list":{"enabled":true,"users":["operator","indexer"],"read_only_users":["reader"]}}}\n'
  } | write_file "$keys_file" 0600
  own "$keys_file"
}

quoted() { # words without quotes in them; prints "a","b"
  local list
  list=$(printf ',"%s"' "$@")
  printf '%s' "${list:1}"
}

# ---- Weaviate -----------------------------------------------------------------------------------------------------------------

# shellcheck disable=SC2329  # the installed host command calls it
start_weaviate() { # the unit's ExecStart; restart on-failure: Docker mends a crash, only the unit starts it at boot
  check_mount
  fetch_keys
  if docker inspect -f '{''{.Id}''}' "$container" >/dev/null 2>&1; then docker rm -f "$container" >&2; fi
  docker run -d --name "$container" --network host --user 1000:1000 --restart on-failure --stop-timeout 60 \
    --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --ulimit nofile=1048576:1048576 --log-driver local \
    --label "lifeboat.config=${p[ConfigurationDigest]}" \
    --env-file "$settings/weaviate.env" \
    -v "$data:$data" -v "$overrides:$overrides:ro" -v "${keys_file%/*}:${keys_file%/*}:ro" \
    "${p[ImageId]}" --host 0.0.0.0 --port 8080 --scheme http --config-file "$keys_file" >&2
}

running_as_configured() {
  [[ $(docker inspect -f '{''{.State.Running}''}' "$container" 2>/dev/null) == true ]] &&
    [[ $(docker inspect -f '{''{index .Config.Labels "lifeboat.config"}''}' "$container") == "${p[ConfigurationDigest]}" ]]
}

prepare_weaviate() {
  begin weaviate 7
  local running pid id address free
  if running_as_configured; then
    say "Weaviate runs as configured already"
  else
    if ! systemctl restart lifeboat-weaviate.service; then
      # A missing key is told as such, and not as a unit that failed.
      begin keys 6
      fetch_keys
      begin weaviate 7
      die 7 "lifeboat-weaviate.service did not start: journalctl -u lifeboat-weaviate.service"
    fi
  fi
  begin answer 7
  IFS='|' read -r running pid id < <(docker inspect -f '{''{.State.Running}''}|{''{.State.Pid}''}|{''{.Id}''}' "$container")
  if [[ $running != true ]]; then die 7 "the container is not running: docker logs $container"; fi
  if [[ ! $pid =~ ^[1-9][0-9]*$ ]]; then pid=null; fi
  address=$(own_address)
  free=$(df -B1 --output=avail "$mount_point" | tail -n 1)
  printf '{"ok":true,"job":"%s","address":"%s","data_path":%s,"container":%s,"free_bytes":%s,"pid":%s}\n' \
    "${p[JobId]}" "$address" "$(json_text "$data")" "$(json_text "$id")" "${free//[[:space:]]/}" "$pid" >"$answer"
}

own_address() { # the first interface's: the fixed address comes and goes on the second
  local words i
  read -ra words < <(ip -4 -o route get 169.254.169.254)
  for ((i = 0; i + 1 < ${#words[@]}; i++)); do
    if [[ ${words[i]} == src ]]; then
      printf '%s' "${words[i + 1]}"
      return
    fi
  done
  die 4 "ip names no source address"
}

# ---- the job ------------------------------------------------------------------------------------------------------------------

work() {
  trap 'unexpected "$BASH_COMMAND" "$LINENO"' ERR
  this_instance_is_meant
  # Credentials may take a while to answer after a boot: asked for beside everything else.
  local probe
  (probe_s3) &
  probe=$!
  # shellcheck disable=SC2064  # this process id, now
  trap "kill $probe 2>/dev/null || :" EXIT
  prepare_disk
  prepare_docker
  prepare_image
  write_configuration
  install_units
  prepare_firewall
  begin s3_rights 8
  wait "$probe"
  prepare_weaviate
}

failure() { # code, step, sentence
  printf '{"ok":false,"job":%s,"step":%s,"code":%s,"error":%s}\n' "$(json_text "${SSM_JobId:-}")" "$(json_text "$2")" "$1" "$(json_text "$3")"
}

# shellcheck disable=SC2329  # the EXIT trap calls it
failed_parameters() { # read_parameters runs in this shell, so that its values stay
  local code=$?
  if ((code != 0)); then failure "$code" parameters "$(tail -n 1 "$error_file")"; fi
  rm -f "$error_file"
}

mkdir -p "$state/jobs" "$volatile"
error_file=$(mktemp "$volatile/error.XXXXXX")
trap failed_parameters EXIT
read_parameters
trap - EXIT

job="$state/jobs/${p[JobId]}"
answer="$job.answer.new"
exec 9>"$volatile/lock"
if ! flock -n 9; then
  rm -f "$error_file"
  failure 75 lock "another job is at work on this host"
  exit 75
fi
if [[ -f $job.answer ]]; then
  rm -f "$error_file"
  cat "$job.answer"
  exit "$(<"$job.code")"
fi
# A job that was cut short may be carried on, but not once a later one has begun: that one decides.
if [[ -f $job.begun && $(<"$state/jobs/latest") != "${p[JobId]}" ]]; then
  rm -f "$error_file"
  failure 75 lock "job $(<"$state/jobs/latest") has begun since"
  exit 75
fi
printf '' >"$job.begun"
printf '%s\n' "${p[JobId]}" | write_file "$state/jobs/latest" 0644

set +e
(
  set -e
  work
) >&2 9>&-
code=$?
set -e
if ((code != 0)); then
  sentence="ended with exit code $code"
  for told in "$error_file.unexpected" "$error_file"; do
    if [[ -s $told ]]; then { read -r code && read -r step && read -r sentence; } <"$told"; fi
  done
  failure "$code" "$step" "$sentence" >"$answer"
fi
rm -f "$error_file" "$error_file.unexpected"
printf '%s\n' "$code" | write_file "$job.code" 0644
mv -f "$answer" "$job.answer"
cat "$job.answer"
exit "$code"
