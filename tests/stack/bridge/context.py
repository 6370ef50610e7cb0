"""What every part of the bridge shares: where this stack lives, its knobs, one lock, and timers.

Nothing here knows the emulator. Times are milliseconds of real time unless a name says otherwise.
"""
import json
import logging
import os
import threading
import time

log = logging.getLogger("lifeboat")

REGION = "us-east-1"
ACCOUNT = "000000000000"
PORTS = (8080, 50051)          # what a node serves to clients through the fixed address

STACK_DIR = os.environ.get("LIFEBOAT_STACK_DIR", ".")
BRIDGE_DIR = os.path.dirname(os.path.abspath(__file__))
STANDINS_DIR = os.path.join(os.path.dirname(BRIDGE_DIR), "standins")

# Every engine (groups, interfaces, commands) changes its records under this one lock.
LOCK = threading.RLock()

KNOBS = {
    "second_ms": 1000,          # real time of one second of a lifecycle hook's timers
    "launch_ms": 50,            # group decides to launch -> EC2 instance exists
    "boot_ms": 80,              # EC2 pending -> running
    "agent_ms": 300,            # running -> the SSM agent has registered
    "event_ms": 30,             # state changed -> its EventBridge event is sent
    "proceed_ms": 50,           # time spent in Pending:Proceed / Terminating:Proceed
    "terminate_ms": 100,        # EC2 shutting-down -> terminated
    "health_ms": 500,           # period of the group's health check
    "attach_ms": 100,           # interface attaching -> attached
    "detach_ms": 200,           # interface detaching -> available
    "deliver_ms": 50,           # SendCommand -> the agent starts it
    "visible_ms": 150,          # SendCommand -> GetCommandInvocation knows it
    "automation_poll_ms": 100,  # period of aws:waitForAwsResourceProperty
    "command_second_ms": 1000,  # real time of one second of a command's timeoutSeconds
    "schedules": True,          # rate() and cron() rules fire
    "s3_events": True,          # S3 events reach EventBridge
    "other_events": True,       # Auto Scaling, EC2 and SSM events reach EventBridge
    "event_copies": 1,          # how many times each event is delivered
    "instance_store_disks": 1,  # NVMe instance-store disks of the next instance
    "agent_registers": True,    # whether the agent of the next instance ever registers
    "terminate_hook_after_launch_abandon": True,
    "node_binary": "",          # what the docker stand-in runs
    "client_groups": {},        # client address, or "*" -> the security groups it carries; any other client carries all
    "registry": True,           # whether `docker pull` can reach a registry
}
_started = time.monotonic()


def knob(name):
    return KNOBS[name]


def set_knobs(values):
    unknown = [k for k in values if k not in KNOBS]
    if unknown:
        raise ValueError(f"unknown knobs {unknown}; known: {sorted(KNOBS)}")
    KNOBS.update(values)
    write_json(os.path.join(STACK_DIR, "knobs.json"), KNOBS)
    return KNOBS


def now_ms():
    return int(time.time() * 1000)


def after(delay_ms, fn, *args):
    """Run fn(*args) on its own daemon thread after delay_ms; failures are logged, never lost."""
    def run():
        try:
            fn(*args)
        except Exception:
            log.exception("%s failed", getattr(fn, "__qualname__", fn))
    timer = threading.Timer(max(delay_ms, 0) / 1000, run)
    timer.daemon = True
    timer.start()
    return timer


def background(name, fn, *args):
    def run():
        try:
            fn(*args)
        except Exception:
            log.exception("%s failed", name)
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def write_json(path, value):
    """Replace the file atomically, so that a reader never sees half of it."""
    tmp = f"{path}.{threading.get_ident()}.tmp"
    with open(tmp, "w") as f:
        json.dump(value, f)
    os.replace(tmp, path)


def append_line(path, value):
    with open(path, "a") as f:
        f.write(json.dumps(value, separators=(",", ":")) + "\n")
