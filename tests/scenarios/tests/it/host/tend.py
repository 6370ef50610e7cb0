"""Runs host/tend-host.sh as it is, with the real ss, in a network namespace of its own; the Rust test beside starts it there.

    unshare --net --map-root-user python3 tend.py SCRIPT DIRECTORY
"""
import json
import os
import socket
import subprocess
import sys

SCRIPT, ROOT = sys.argv[1:3]
FIXED = "10.99.0.15"
INSTANCE = "i-0123456789abcdef0"


def tend(job, order, instance=INSTANCE):
    environment = {"PATH": os.environ["PATH"], "LIFEBOAT_ROOT": ROOT, "SSM_JobId": job, "SSM_Order": order, "SSM_Instance": instance}
    done = subprocess.run(["bash", SCRIPT], env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def listen(family, address, port):
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen()
    return listener


def connect(listener, address, port):
    client = socket.create_connection((address, port), timeout=5)
    server, _ = listener.accept()
    return client, server


def is_reset(pair):
    try:
        pair[0].sendall(b"x")
        return pair[1].recv(1) == b""
    except ConnectionError:
        return True
    except OSError as error:
        return error.errno is not None


def overrides():
    with open(f"{ROOT}/workspace/weaviate/overrides/overrides.yaml") as f:
        return f.read()


subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["ip", "address", "add", f"{FIXED}/32", "dev", "lo"], check=True)
for name in ("etc/lifeboat", "workspace/weaviate/overrides"):
    os.makedirs(f"{ROOT}/{name}")
code, answer, _ = tend("early-1", "shut-out")
assert (code, answer["ok"]) == (1, False), answer
with open(f"{ROOT}/etc/lifeboat/host.conf", "w") as f:
    f.write(f'declare -gA p=([FixedAddress]="{FIXED}" [Cluster]="c" )\n')
code, answer, _ = tend("early-2", "shut-out-read-only")
assert code == 4 and "overrides" in answer["error"], answer
with open(f"{ROOT}/workspace/weaviate/overrides/overrides.yaml", "w") as f:
    f.write("{}\n")

rest = listen(socket.AF_INET, "0.0.0.0", 8080)
grpc = listen(socket.AF_INET6, "::", 50051)  # as Go listens: an IPv6 socket that takes IPv4 too
other = listen(socket.AF_INET, "0.0.0.0", 9000)

# Nothing there: nothing to reset.
code, answer, error = tend("nothing-1", "shut-out")
assert (code, answer["reset"], answer["remaining"]) == (0, 0, 0), (answer, error)

clients = [connect(rest, FIXED, 8080), connect(rest, FIXED, 8080), connect(grpc, FIXED, 50051)]
half_closed = connect(rest, FIXED, 8080)
half_closed[0].shutdown(socket.SHUT_WR)
functions = connect(rest, "127.0.0.1", 8080)   # by another address: the functions' way
elsewhere = connect(other, FIXED, 9000)        # another port
code, answer, error = tend("out-1", "shut-out-read-only")
assert (code, answer["ok"], answer["reset"], answer["remaining"]) == (0, True, 4, 0), (answer, error)
assert all(is_reset(pair) for pair in clients), "a connection lives on"
assert not is_reset(functions) and not is_reset(elsewhere), "more was reset than was asked for"
assert overrides() == "operational_mode: ReadOnly\n", overrides()

# The same job again is not obeyed again; another one is.
late = connect(rest, FIXED, 8080)
assert tend("out-1", "shut-out-read-only")[1] == answer
assert not is_reset(late)
code, answer, error = tend("out-2", "shut-out")
assert (code, answer["reset"]) == (0, 1) and is_reset(late), (answer, error)
assert overrides() == "operational_mode: ReadOnly\n", "a reset alone leaves the mode"

code, answer, error = tend("in-1", "readmit")
assert code == 0 and overrides() == "{}\n", (answer, overrides())

for job, order, instance in (("a b", "shut-out", INSTANCE), ("j", "rm -rf /", INSTANCE), ("j", "shut-out", "i-x; reboot")):
    code, answer, _ = tend(job, order, instance)
    assert (code, answer["ok"]) == (2, False), answer
os.makedirs(f"{ROOT}/var/lib/cloud/data")
with open(f"{ROOT}/var/lib/cloud/data/instance-id", "w") as f:
    f.write("i-0fedcba9876543210\n")
code, answer, _ = tend("k", "shut-out")
assert code == 2 and "another instance" in answer["error"], answer
print("tended")
