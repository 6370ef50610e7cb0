"""The emulator process: the emulator with our bridge loaded into it, on one loopback port.

Run by launch.py with LIFEBOAT_STACK_DIR set. Writes ready.json there when it serves.
"""
import contextlib
import json
import logging
import os
import random
import socket
import sys
import threading
import time
import urllib.request

stack_dir = os.environ["LIFEBOAT_STACK_DIR"]
for name in ("logs", "instances", "tmp"):
    os.makedirs(os.path.join(stack_dir, name), exist_ok=True)

gateway = socket.socket()
gateway.bind(("127.0.0.1", 0))
gateway.listen(512)
port = gateway.getsockname()[1]
endpoint = f"http://127.0.0.1:{port}"
# Read by the emulator when it is imported, so set before; nothing of the host's environment is here (see the harness).
os.environ.update({
    "GATEWAY_PORT": str(port), "AWS_ENDPOINT_URL": endpoint, "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1",
    "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "MINISTACK_REGION": "us-east-1", "LAMBDA_ACCOUNT_CONCURRENCY": "1000",
    "TMPDIR": os.path.join(stack_dir, "tmp"), "DOCKER_HOST": f"unix://{stack_dir}/no-docker.sock",
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_CONFIG_FILE": "/dev/null",
})
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")


def claim_octet():
    """A second octet that no other stack on this machine holds: the claim is a listening socket, so it ends with us."""
    for octet in random.sample(range(20, 250), 230):
        claim = socket.socket()
        with contextlib.suppress(OSError):
            claim.bind((f"127.{octet}.255.254", 47999))
            claim.listen(1)
            return octet, claim
        claim.close()
    sys.exit("no free 127.x.0.0/16 left on this machine for the instances' addresses")


import sandbox  # noqa: E402

sandbox.octet, claim = claim_octet()
import accesslog  # noqa: E402
import automations  # noqa: E402
import commands_api  # noqa: E402
import control  # noqa: E402
import documents  # noqa: E402
import emulator  # noqa: E402
import emulator_events  # noqa: E402, F401
import emulator_s3  # noqa: E402
import formation  # noqa: E402
import groups_api  # noqa: E402
import interfaces_api  # noqa: E402
import machines  # noqa: E402
import model  # noqa: E402
from context import set_knobs, write_json  # noqa: E402

set_knobs(json.loads(os.environ.get("LIFEBOAT_KNOBS") or "{}"))
sandbox.install_standins(sys.executable)
interfaces_api.install()
machines.install()
groups_api.install()
documents.install()
formation.install()
own = {**documents.actions(), **commands_api.actions(), **automations.actions()}
emulator.json_actions(own)
model.watch("ssm", own)
model.watch("autoscaling", groups_api.ACTIONS)
model.watch("ec2", interfaces_api.ACTIONS)
if emulator.AUTH:
    for name, secret, token in (control.TESTER, control.deploy.DEPLOYER):
        emulator_s3.register_session(name, secret, token, None, name)
control_port = control.start()


def announce():
    """Say that we serve once we do."""
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1).read()
            break
        time.sleep(0.02)
    write_json(os.path.join(stack_dir, "ready.json"), {
        "endpoint": endpoint, "control": control_port, "octet": sandbox.octet, "fixed_address": sandbox.fixed_address(),
        "pid": os.getpid()})


threading.Thread(target=announce, daemon=True).start()
emulator.serve(gateway, lambda app: accesslog.logged(model.watched(app)))
