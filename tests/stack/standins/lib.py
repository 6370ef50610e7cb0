"""What the stand-ins share: the instance's machine, the record of calls, and orders to fail or hang.

A stand-in does what the real command would have changed for later commands (a file system on a disk, a mount, a container),
and nothing to this computer. What it does not know it refuses, so that a script is never let through on a guess.
"""
import contextlib
import fcntl
import json
import os
import sys
import time

ROOT = os.environ.get("LIFEBOAT_ROOT") or sys.exit("stand-ins only work in a sandbox: LIFEBOAT_ROOT is not set")
STATE = os.path.join(ROOT, ".standin")
NAME = os.path.basename(sys.argv[0])


def read_json(path, otherwise):
    try:
        with open(path) as f:
            return json.load(f)
    except FileNotFoundError:
        return otherwise


MACHINE = read_json(os.path.join(STATE, "machine.json"), {})
STACK_KNOBS = read_json(MACHINE.get("stack_knobs", ""), {})


def write_json(path, value):
    tmp = f"{path}.{os.getpid()}.tmp"
    with open(tmp, "w") as f:
        json.dump(value, f)
    os.replace(tmp, path)


@contextlib.contextmanager
def state(name, otherwise):
    """Read, change and write back one of the machine's records, one process at a time."""
    path = os.path.join(STATE, f"{name}.json")
    with open(path + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        value = read_json(path, otherwise)
        yield value
        write_json(path, value)


def peek(name, otherwise):
    return read_json(os.path.join(STATE, f"{name}.json"), otherwise)


def inside(path):
    """An absolute path of the host, as it is in the sandbox."""
    return path if path == ROOT or path.startswith(ROOT + "/") else os.path.join(ROOT, path.lstrip("/"))


def outside(path):
    """The same the other way round."""
    return path[len(ROOT):] or "/" if path == ROOT or path.startswith(ROOT + "/") else path


def fail(message, code=1):
    print(f"{NAME}: {message}", file=sys.stderr)
    sys.exit(code)


def begin():
    """Record the call and obey what this instance's knobs.json orders for it; the arguments."""
    argv = [NAME, *sys.argv[1:]]
    with open(os.path.join(ROOT, "calls.ndjson"), "a") as f:
        f.write(json.dumps({"at_ms": int(time.time() * 1000), "argv": argv, "env": sorted(os.environ)}) + "\n")
    orders = read_json(os.path.join(ROOT, "knobs.json"), {}).get(NAME)
    for order in orders if isinstance(orders, list) else [orders] if orders else []:
        if order.get("match", "") not in " ".join(argv):
            continue
        if "times" in order:
            with state("knob-uses", {}) as uses:
                key = f"{NAME} {order.get('match', '')}"
                uses[key] = uses.get(key, 0) + 1
                if uses[key] > order["times"]:
                    continue
        if order.get("hang"):
            time.sleep(order["hang"])
        if order.get("fail"):
            fail(order.get("message", "told to fail"), int(order["fail"]))
    return sys.argv[1:]


def options(args, with_value, flags=()):
    """({option: last value or True}, operands); unknown options are refused. `-ab` is `-a -b` for known one-letter flags."""
    found, operands, rest = {}, [], list(args)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in with_value:
            found[name] = value if equals else (rest.pop(0) if rest else fail(f"{name} needs a value"))
        elif word in flags:
            found[word] = True
        elif word.startswith("-") and not word.startswith("--") and len(word) > 2:
            letters = [f"-{letter}" for letter in word[1:]]
            for n, letter in enumerate(letters):
                if letter in with_value:
                    tail = word[n + 2:]
                    found[letter] = tail or (rest.pop(0) if rest else fail(f"{letter} needs a value"))
                    break
                if letter not in flags:
                    fail(f"the stand-in does not know {letter} in {word}")
                found[letter] = True
        elif word.startswith("-") and word != "-":
            fail(f"the stand-in does not know {word}")
        else:
            operands.append(word)
    return found, operands


# --- disks -------------------------------------------------------------------------------------------------------
# Devices are named by their path in the sandbox, so that no mistake could ever name a disk of this computer.

def disks():
    return {inside(f"/dev/{d['name']}"): d for d in MACHINE.get("disks", [])}


def arrays():
    """device -> {members, name}: what mdadm made and runs."""
    return peek("arrays", {})


def device(path):
    """The device that a path names, links resolved; None when there is none."""
    name = outside(path)
    if name.startswith("/dev/disk/by-label/"):
        label = os.path.basename(name)
        path = next((d for d, fs in peek("filesystems", {}).items() if fs.get("LABEL") == label), name)
    elif name.startswith("/dev/md/"):
        path = next((d for d, a in arrays().items() if a["name"] == os.path.basename(name)), name)
    elif name.startswith("/dev/disk/"):
        path = inside("/dev/" + os.path.basename(os.path.realpath(inside(name))))
    else:
        path = inside(name)
    return path if path in disks() or path in arrays() else None


def mounts():
    """mount point (in the sandbox) -> {device, type, options}."""
    return peek("mounts", {})
