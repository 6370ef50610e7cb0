"""An instance's machine: a directory with fake disks, a loopback address, credentials, and processes that can be killed.

Scripts run with LIFEBOAT_ROOT naming the directory, and with a PATH of the stand-ins and a list of harmless real commands;
nothing of our own environment reaches them.
"""
import hashlib
import json
import os
import shutil
import signal

import emulator
import emulator_s3
from context import BRIDGE_DIR, KNOBS, LOCK, REGION, STACK_DIR, STANDINS_DIR, write_json

_addresses = {"next": 1}
octet = 0                       # second octet of every address of this stack; set at start
RECORDED_ONLY = ("sysctl", "modprobe", "iptables", "ip6tables", "reboot", "shutdown", "poweroff", "halt", "udevadm",
                 "useradd", "groupadd", "hostnamectl", "timedatectl", "swapoff", "fstrim", "wipefs", "partprobe",
                 "journalctl", "loginctl", "conntrack")


# Real commands that scripts may use. Nothing else of this computer is on their PATH, so that a command without a stand-in is
# `command not found` and never the real thing: scripts run here as whoever runs the tests, perhaps root.
REAL = ("[", "awk", "base64", "basename", "bash", "cat", "chgrp", "chmod", "chown", "cksum", "cmp", "comm", "cp", "curl", "cut",
        "date", "dd", "df", "diff", "dirname", "du", "echo", "env", "expr", "false", "file", "find", "flock", "fold", "gawk",
        "getopt", "grep", "gunzip", "gzip", "head", "hostname", "id", "install", "jq", "kill", "ln", "ls", "mkdir", "mkfifo",
        "mktemp", "mv", "nl", "nohup", "nproc", "od", "openssl", "paste", "pgrep", "printf", "ps", "pwd", "readlink", "realpath",
        "rm", "rmdir", "sed", "seq", "setsid", "sh", "sha256sum", "shuf", "sleep", "sort", "split", "stat", "stdbuf", "stty",
        "sync", "tac", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true", "truncate", "uname", "uniq", "uuidgen",
        "wc", "which", "whoami", "xargs", "xxd", "yes", "zcat")


def fixed_address():
    return f"127.{octet}.0.10"


def allocate_address():
    with LOCK:
        n = _addresses["next"]
        _addresses["next"] += 1
    return f"127.{octet}.{1 + n // 250}.{1 + n % 250}"


def root(instance_id):
    return os.path.join(STACK_DIR, "instances", instance_id)


def access_key(instance_id):
    return instance_id if not emulator.AUTH else "ASIA" + hashlib.sha256(instance_id.encode()).hexdigest()[:16].upper()


def create(record):
    """Make the directory of a new instance and describe it to the stand-ins."""
    instance_id = record["InstanceId"]
    base = root(instance_id)
    for name in ("dev/disk/by-id", "etc/systemd/system", "run", "tmp", "var/lib", "var/log", "usr/local", "root", ".standin"):
        os.makedirs(os.path.join(base, name), exist_ok=True)
    disks = [{"name": "nvme0n1", "model": "Amazon Elastic Block Store", "serial": "vol0" + instance_id[2:10],
              "size": 8 << 30, "mountpoint": "/"}]
    for n in range(KNOBS["instance_store_disks"]):
        disks.append({"name": f"nvme{n + 1}n1", "model": "Amazon EC2 NVMe Instance Storage",
                      "serial": f"AWS{n}{instance_id[2:]}".upper(), "size": 237 << 30, "mountpoint": None})
    for disk in disks:
        with open(os.path.join(base, "dev", disk["name"]), "wb"):
            pass
        link = f"nvme-{disk['model'].replace(' ', '_')}_{disk['serial']}"
        os.symlink(f"../../{disk['name']}", os.path.join(base, "dev/disk/by-id", link))
    secret, token = "local", "local"
    if emulator.AUTH:
        profile = (record.get("IamInstanceProfile") or {}).get("Arn", "")
        emulator_s3.register_session(access_key(instance_id), secret, token, emulator_s3.role_of_profile(profile), instance_id)
    write_json(os.path.join(base, ".standin", "machine.json"), {
        "instance": instance_id, "address": record["PrivateIpAddress"], "region": REGION, "disks": disks,
        "endpoint": os.environ["AWS_ENDPOINT_URL"], "access_key": access_key(instance_id), "secret_key": secret,
        "token": token, "stack_knobs": os.path.join(STACK_DIR, "knobs.json"), "auth": emulator.AUTH,
    })


def environment(instance_id, extra=None):
    """Everything a script on the instance sees."""
    base = root(instance_id)
    return {
        "PATH": os.path.join(STACK_DIR, "bin"),
        "HOME": os.path.join(base, "root"), "LANG": "C.UTF-8", "TMPDIR": os.path.join(base, "tmp"),
        "LIFEBOAT_ROOT": base, **(extra or {}),
    }


def install_standins(python):
    """The directory that comes first on every script's PATH."""
    bin_dir = os.path.join(STACK_DIR, "bin")
    os.makedirs(bin_dir, exist_ok=True)
    with open(os.path.join(bin_dir, "python3"), "w") as f:
        cache = os.environ.get("PYTHONPYCACHEPREFIX") or os.path.join(STACK_DIR, "tmp")
        f.write(f'#!/bin/sh\nexec "{python}" -X pycache_prefix="{cache}" "$@"\n')
    os.chmod(os.path.join(bin_dir, "python3"), 0o755)
    for name in os.listdir(STANDINS_DIR):
        path = os.path.join(STANDINS_DIR, name)
        if not name.endswith(".py") and os.path.isfile(path):
            os.symlink(path, os.path.join(bin_dir, name))
    for name in REAL:
        found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
        if found:
            os.symlink(found, os.path.join(bin_dir, name))
    for name in RECORDED_ONLY:
        os.symlink(os.path.join(STANDINS_DIR, "recorded"), os.path.join(bin_dir, name))


def processes(instance_id):
    """pid -> command line of every process whose LIFEBOAT_ROOT is this instance's, and of its containers."""
    base, found = root(instance_id), {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as f:
                mine = f"LIFEBOAT_ROOT={base}".encode() in f.read().split(b"\0")
            if mine:
                with open(f"/proc/{name}/cmdline", "rb") as f:
                    found[int(name)] = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
    for container in containers(instance_id):
        if container.get("pid") and os.path.exists(f"/proc/{container['pid']}"):
            found[container["pid"]] = container["image"]
    return found


def containers(instance_id):
    base = os.path.join(root(instance_id), ".standin", "containers")
    found = []
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        try:
            with open(os.path.join(base, name, "state.json")) as f:
                found.append(json.load(f))
        except (OSError, ValueError):
            continue
    return found


def port(instance_id, wanted):
    """Where something listens that was to listen on this port of the instance: the docker stand-in moves some."""
    for container in containers(instance_id):
        if container.get("status") == "running" and str(wanted) in container.get("ports", {}):
            return container["ports"][str(wanted)]
    return wanted


def destroy(instance_id):
    """Power off: kill every process at once and wipe every disk, as instance store is. The logs stay readable."""
    gone, paths = [], [c.get("data_path") for c in containers(instance_id) if c.get("data_path")]
    for _ in range(20):
        alive = processes(instance_id)
        if not alive:
            break
        # Supervisors first, or a restart policy would answer the kill.
        for pid in sorted(alive, key=lambda p: "supervise" not in alive[p]):
            try:
                os.kill(pid, signal.SIGKILL)
                gone.append(pid)
            except ProcessLookupError:
                pass
    for container in containers(instance_id):
        path = os.path.join(root(instance_id), ".standin", "containers", container["id"][:12], "state.json")
        write_json(path, {**container, "status": "exited", "exit_code": 137})
    for name in os.listdir(root(instance_id)) if os.path.isdir(root(instance_id)) else []:
        if name not in (".standin", "calls.ndjson", "knobs.json"):
            path = os.path.join(root(instance_id), name)
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    return {"killed": sorted(set(gone)), "data_paths": paths}


def describe(instance_id):
    current = [c for c in containers(instance_id) if c.get("status") == "running"]
    return {
        "sandbox": root(instance_id),
        "pid": current[0]["pid"] if current else None,
        "data_path": current[0].get("data_path") if current else None,
        "containers": containers(instance_id),
    }


def bridge_file(name):
    return os.path.join(BRIDGE_DIR, name)
