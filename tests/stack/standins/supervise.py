"""Keeper of one container: runs its process, notes its end, and starts it again where its restart policy says so.

Usage: supervise.py <container directory>, which holds spec.json and state.json. A file `unwanted` there forbids restarts.
"""
import json
import os
import subprocess
import sys
import time

directory = sys.argv[1]


def read():
    with open(os.path.join(directory, "state.json")) as f:
        return json.load(f)


def note(**changes):
    state = {**read(), **changes}
    tmp = os.path.join(directory, f"state.{os.getpid()}.tmp")
    with open(tmp, "w") as f:
        json.dump(state, f)
    os.replace(tmp, os.path.join(directory, "state.json"))


with open(os.path.join(directory, "spec.json")) as f:
    spec = json.load(f)
pause, code = 0.1, 0
while True:
    with open(os.path.join(directory, "log"), "ab") as log:
        try:
            process = subprocess.Popen(spec["argv"], env=spec["environment"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       cwd=directory)
        except OSError as error:
            log.write(f"cannot run {spec['argv'][0]}: {error}\n".encode())
            note(status="exited", exit_code=127)
            sys.exit(127)
    begun = time.time()
    note(status="running", pid=process.pid, exit_code=None, started_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    code = process.wait()
    code = code if code >= 0 else 128 - code
    try:
        policy = read()["policy"]
        note(status="exited", exit_code=code)
    except FileNotFoundError:
        sys.exit(code)  # removed
    again = policy.split(":")[0] in ("always", "unless-stopped") or (policy.startswith("on-failure") and code != 0)
    if not again or os.path.exists(os.path.join(directory, "unwanted")):
        sys.exit(code)
    pause = 0.1 if time.time() - begun > 10 else min(pause * 2, 60)
    time.sleep(pause)
    if os.path.exists(os.path.join(directory, "unwanted")) or not os.path.isdir(directory):
        sys.exit(code)
    note(restarts=read()["restarts"] + 1)
