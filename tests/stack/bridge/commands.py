"""Run Command: a document's own steps, executed by bash on the instance's machine, with the agent's limits.

Sources: Systems Manager user guide (statuses, outputs, exit codes, timeouts), the agent's source (defaults, truncation).
"""
import os
import signal
import subprocess
import threading

import documents
import emulator as emu
import emulator_events as events
import machines
import sandbox
from context import LOCK, REGION, after, background, knob, now_ms

COMMANDS = {}                 # command id -> command
STDOUT_MAX, STDERR_MAX, DETAIL_MAX = 24000, 8000, 2500
TRUNCATED = "--output truncated--"
WORKERS = 5                   # commands an agent runs at a time
TERMINAL = ("Success", "Failed", "TimedOut", "Cancelled")
_slots = {}


def seconds(value):
    """timeoutSeconds as the agent reads it: anything unparsable or out of 5..172800 means 3600."""
    try:
        number = int(str(value))
    except ValueError:
        return 3600
    return number if 5 <= number <= 172800 else 3600


def send(data, names, content, version, values):
    """Record the command and hand it to the agents; the caller has checked everything."""
    command_id, now = emu.new_id(), now_ms()
    command = {
        "id": command_id, "document": data["DocumentName"], "version": data.get("DocumentVersion") or "$DEFAULT",
        "comment": data.get("Comment") or "", "parameters": data.get("Parameters") or {}, "at": now,
        "delivery_seconds": int(data.get("TimeoutSeconds") or 3600), "status": "Pending", "details": "Pending",
        "invocations": {}, "cancelled": False,
    }
    for instance_id in names:
        command["invocations"][instance_id] = {
            "instance": instance_id, "status": "Pending", "details": "Pending", "at": now, "process": None,
            "plugins": [{"name": s["name"], "action": s["action"], "status": "Pending", "details": "Pending", "code": -1,
                         "stdout": "", "stderr": "", "start": None, "end": None} for s in content["mainSteps"]]}
    with LOCK:
        COMMANDS[command_id] = command
    for instance_id in names:
        after(knob("deliver_ms"), deliver, command, instance_id, content, values)
    return command


def deliver(command, instance_id, content, values):
    invocation = command["invocations"][instance_id]
    longest = sum(seconds((documents.interpolate(s.get("inputs") or {}, values)).get("timeoutSeconds", 3600))
                  for s in content["mainSteps"])
    limit = after((command["delivery_seconds"] + longest) * knob("command_second_ms"), lost, command, invocation)
    if not machines.managed(instance_id) or instance_id in machines.HUNG:
        return  # nobody answers: it ends by the delivery timeout
    with LOCK:
        slot = _slots.setdefault(instance_id, threading.Semaphore(WORKERS))
    with slot:
        with LOCK:
            if command["cancelled"] or invocation["status"] in TERMINAL:
                return
            change(command, invocation, "InProgress", "InProgress")
        failed = None
        for step, plugin in zip(content["mainSteps"], invocation["plugins"]):
            last = bool((step.get("inputs") or {}).get("finallyStep"))
            if failed == "exit" and not last:
                plugin["details"] = "Undelivered"  # an earlier step said onFailure: exit
                continue
            if command["cancelled"]:
                plugin.update({"status": "Cancelled", "details": "Cancelled"})
                continue
            outcome = run(command, invocation, instance_id, step, plugin, values)
            if outcome == "gone":
                return  # the machine died: the agent never reports, the total timeout will
            if outcome != "Success":
                failed = "exit" if step.get("onFailure") == "exit" else (failed or "continue")
    limit.cancel()
    with LOCK:
        states = [(p["status"], p["details"]) for p in invocation["plugins"] if p["status"] != "Pending"]
        worst = next((s for k in ("Cancelled", "TimedOut", "Failed") for s in states if s[0] == k), ("Success", "Success"))
        change(command, invocation, *worst)


def lost(command, invocation):
    with LOCK:
        if invocation["status"] not in TERMINAL:
            change(command, invocation, "TimedOut", "DeliveryTimedOut")


def run(command, invocation, instance_id, step, plugin, values):
    """One step. Answers its status, or `gone` when the machine died under it."""
    if step["action"] != "aws:runShellScript":
        plugin.update({"status": "Failed", "details": "Failed", "code": 1, "stderr": f"{step['action']} is not supported here"})
        return "Failed"
    content = documents.DOCUMENTS[command["document"].rsplit("/", 1)[-1]]["versions"]
    specs = next((c.get("parameters") or {} for c in content if step in c["mainSteps"]), {})
    by_env = {n for n, s in specs.items() if s.get("interpolationType") == "ENV_VAR"}
    inputs = documents.interpolate(step.get("inputs") or {}, {n: v for n, v in values.items() if n not in by_env})
    script = "\n".join(inputs.get("runCommand") or [])
    work = os.path.join(sandbox.root(instance_id), "var/lib/amazon/ssm", command["id"], step["name"])
    os.makedirs(work, exist_ok=True)
    path = os.path.join(work, "_script.sh")
    with open(path, "w") as f:
        f.write(script + "\n")
    os.chmod(path, 0o700)
    # Without a first line naming an interpreter the agent's sh is bash in POSIX mode (Amazon Linux 2023).
    interpreter = script.split("\n", 1)[0][2:].split() if script.startswith("#!") else ["bash", "--posix"]
    environment = sandbox.environment(instance_id, {f"SSM_{n}": documents.text(values[n]) for n in by_env})
    environment |= {"AWS_SSM_INSTANCE_ID": instance_id, "AWS_SSM_REGION_NAME": REGION}
    plugin.update({"status": "InProgress", "details": "InProgress", "start": emu.iso_now()})
    limit = seconds(inputs.get("timeoutSeconds", 3600)) * knob("command_second_ms") / 1000
    timed_out = False
    with open(os.path.join(work, "stdout"), "wb") as out, open(os.path.join(work, "stderr"), "wb") as err:
        with emu.EXECUTABLE_LOCK:
            process = subprocess.Popen([*interpreter, path], cwd=work, env=environment, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=err, start_new_session=True)
        with LOCK:
            invocation["process"] = process
            if command["cancelled"]:  # between the agent's taking it and the script's start
                kill(process)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            timed_out, code = True, 137
            kill(process)
            process.wait()
    invocation["process"] = None
    if not machines.managed(instance_id):
        return "gone"
    status, details = ("Success", "Success") if code == 0 else ("Failed", "Failed")
    if timed_out:
        status, details = "TimedOut", "ExecutionTimedOut"
    elif command["cancelled"]:
        status, details = "Cancelled", "Cancelled"
    plugin.update({"stdout": clipped(work, "stdout", STDOUT_MAX), "stderr": clipped(work, "stderr", STDERR_MAX),
                   "code": code if code >= 0 else 128 - code, "end": emu.iso_now(), "status": status, "details": details})
    return status


def clipped(work, name, limit):
    with open(os.path.join(work, name), "rb") as f:
        text = f.read(limit * 4 + 4).decode("utf-8", "replace")
    return text if len(text) <= limit else text[: limit - len(TRUNCATED)] + TRUNCATED


def kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def cancel(command, instance_ids):
    """Best effort, as on AWS: what has not ended is stopped; what it started outside its own group may live on."""
    with LOCK:
        command["cancelled"] = True
        for instance_id, invocation in command["invocations"].items():
            if instance_ids and instance_id not in instance_ids or invocation["status"] in TERMINAL:
                continue
            if invocation["status"] == "Pending":  # nothing of it has begun
                change(command, invocation, "Cancelled", "Cancelled")
                continue
            change(command, invocation, "Cancelling", "Cancelling")
            if invocation["process"] is not None:
                background("cancel", kill, invocation["process"])


def change(command, invocation, status, details):
    """Move an invocation, roll it up into its command, and tell EventBridge of both."""
    invocation["status"], invocation["details"] = status, details
    events.emit("aws.ssm", "EC2 Command Invocation Status-change Notification", {
        "command-id": command["id"], "document-name": command["document"], "instance-id": invocation["instance"],
        "requested-date-time": emu.iso_of(command["at"]), "status": status}, [machines.arn(invocation["instance"])])
    states = [i["status"] for i in command["invocations"].values()]
    ended = [s for s in states if s in TERMINAL]
    worst = next((s for s in ("Cancelled", "TimedOut", "Failed") if s in states), "Success")
    rolled = worst if len(ended) == len(states) else ("Cancelling" if command["cancelled"] else "InProgress")
    if rolled != command["status"]:
        command["status"] = command["details"] = rolled
        events.emit("aws.ssm", "EC2 Command Status-change Notification", {
            "command-id": command["id"], "document-name": command["document"],
            "requested-date-time": emu.iso_of(command["at"]), "expire-after": emu.iso_of(command["at"] + 7200000),
            "parameters": {}, "status": rolled})
