"""Warden of one local stack: starts the emulator, and makes sure that nothing outlives its owner.

The owner (the Rust harness) holds our standard input open. When it closes it, or dies, or the emulator ends, every
process that this stack ever started is killed: as a child subreaper we inherit all of its orphans, nodes included.
"""
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
libc = ctypes.CDLL(None, use_errno=True)


def children():
    """pid -> parent pid of everything running."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as f:
                    found[int(name)] = int(f.read().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
    return found


def descendants():
    parents, mine = children(), {os.getpid()}
    grew = True
    while grew:
        new = {p for p, parent in parents.items() if parent in mine} - mine
        mine |= new
        grew = bool(new)
    return mine - {os.getpid()}


def reap():
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def kill_everything():
    for _ in range(100):
        reap()
        left = descendants()
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def main():
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit("the local stack needs Linux: prctl(PR_SET_CHILD_SUBREAPER) failed")
    emulator = subprocess.Popen(
        [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")],
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
    )
    over = threading.Event()

    def owner_gone():
        while os.read(0, 4096):
            pass
        over.set()

    threading.Thread(target=owner_gone, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C goes to the owner, whose end ends us
    code = None
    while code is None and not over.wait(0.2):
        # Orphans (stand-ins' children) are ours to reap; the emulator's status is kept.
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid, status = emulator.pid, 0
            if pid == 0:
                break
            if pid == emulator.pid:
                code = os.waitstatus_to_exitcode(status)
                break
    kill_everything()
    sys.exit(0 if code is None else (code if code >= 0 else 128 - code))


main()
