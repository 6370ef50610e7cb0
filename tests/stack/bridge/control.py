"""The tests' own door into the stack: one JSON object per line on a loopback port, answered by one line.

{"op": ..., ...} -> {"ok": ...} or {"error": {"code": ..., "message": ...}}. Never part of what the product sees.
"""
import base64
import json
import os
import socket
import threading

from botocore.exceptions import BotoCoreError, ClientError

import aws_cli
import deploy
import emulator as emu
import emulator_events as events
import emulator_s3 as store
import forwarder
import groups
import interfaces
import machines
import model
import own_api
import sandbox
from context import KNOBS, LOCK, log, set_knobs, write_json

TESTER = ("tester", "local", None)


def instance(instance_id):
    record = emu.instances[instance_id]
    group, member = groups.find(instance_id)
    return {
        "instance": instance_id, "state": record["State"]["Name"], "address": record["PrivateIpAddress"],
        "lifecycle": member and member["LifecycleState"], "group": group and group["AutoScalingGroupName"],
        "agent": machines.managed(instance_id), "accepted": forwarder.accepted.get(instance_id, {}),
        "interfaces": [r["NetworkInterfaceId"] for r in interfaces.of_instance(instance_id)],
        **sandbox.describe(instance_id),
    }


def op_instances(request):
    return [instance(i) for i in list(emu.instances)]


def op_kill(request):
    """The machine dies: processes SIGKILLed, disks wiped, EC2 terminated; the group must find out by itself."""
    return machines.terminate(request["instance"])


def op_hang(request):
    return machines.hang(request["instance"])


def op_pass_hook_time(request):
    return groups.pass_time(request["seconds"])


def op_model(request):
    return model.report()


def op_kill_node(request):
    """Only the node process dies; the machine and its disks stay."""
    killed = []
    for container in sandbox.containers(request["instance"]):
        if container.get("status") == "running":
            os.kill(container["pid"], 9)
            killed.append(container["pid"])
    return killed


def op_knobs(request):
    return set_knobs(request.get("set") or {})


def op_machine_knobs(request):
    """Knobs of the stand-ins of one instance: {"<command>": {"fail": code, "hang": seconds, "times": n, "match": text}}."""
    write_json(os.path.join(sandbox.root(request["instance"]), "knobs.json"), request["set"])
    return request["set"]


def op_tick(request):
    return events.tick(request.get("name", ""))


def op_tamper(request):
    return store.tamper(request["bucket"], request["key"], int(request.get("offset", 0)))


def op_counts(request):
    with LOCK:
        return {**events.counts, "accepted": forwarder.accepted, "knobs": dict(KNOBS)}


def op_call(request):
    who = tuple(request.get("as") or TESTER)
    params = {k: v for k, v in (request.get("params") or {}).items()}
    if "Body" in params and isinstance(params["Body"], dict):
        params["Body"] = base64.b64decode(params["Body"]["base64"])
    return own_api.call(request["service"], request["api"], params, who)


def op_role_credentials(request):
    """Credentials of a role's session, as [access key, secret, token]."""
    return own_api.as_role(request["role"], request["name"], emu.new_id())


def op_invoke(request):
    answer = own_api.client("lambda", TESTER).invoke(
        FunctionName=request["function"], Payload=json.dumps(request["payload"]).encode(), LogType="Tail")
    payload = answer["Payload"].read().decode()
    return {"status": answer["StatusCode"], "function_error": answer.get("FunctionError"),
            "payload": json.loads(payload) if payload else None,
            "log_tail": base64.b64decode(answer.get("LogResult", "")).decode("utf-8", "replace")}


def op_calls(request):
    """What the stand-ins of one instance were asked to do, in order."""
    path = os.path.join(sandbox.root(request["instance"]), "calls.ndjson")
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [json.loads(line) for line in f]


def op_aws_cli(request):
    return aws_cli.run(request["argv"], request["cwd"], request["as"])


def op_deploy(request):
    return deploy.run(request)


OPS = {name[3:]: fn for name, fn in globals().items() if name.startswith("op_")}


def answer(line):
    try:
        request = json.loads(line)
        return {"ok": OPS[request["op"]](request)}
    except ClientError as error:
        return {"error": {"code": error.response["Error"].get("Code", ""), "message": str(error)}}
    except (BotoCoreError, Exception) as error:
        log.exception("control request failed: %s", line[:300])
        return {"error": {"code": type(error).__name__, "message": str(error)}}


def serve_one(connection):
    with connection, connection.makefile("rwb") as stream:
        for line in stream:
            stream.write(json.dumps(answer(line), default=str).encode() + b"\n")
            stream.flush()


def start():
    """Listen; the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve_one, args=(connection,), daemon=True).start()
    threading.Thread(target=accept, name="control", daemon=True).start()
    return listener.getsockname()[1]
