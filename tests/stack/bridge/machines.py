"""EC2 instances as far as the product sees them: an address on loopback, a state that changes in its own time, a machine
(sandbox.py) behind it, a primary interface, and an end that frees what it held.
"""
import contextlib
import os
import signal

import emulator as emu
import emulator_events as events
import interfaces
import sandbox
from context import ACCOUNT, LOCK, REGION, after, background, knob, now_ms

STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
AGENTS = {}       # instance id -> when its SSM agent registered, ms
HUNG = set()      # instances on which nothing moves, though nobody was told


def arn(instance_id):
    return f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{instance_id}"


def state(instance_id):
    record = emu.instances.get(instance_id)
    return record["State"]["Name"] if record else None


def address(instance_id):
    return (emu.instances.get(instance_id) or {}).get("PrivateIpAddress", "")


def set_state(instance_id, name):
    record = emu.instances.get(instance_id)
    if record and record["State"]["Name"] != name:
        record["State"] = {"Code": STATES[name], "Name": name}
        events.emit("aws.ec2", "EC2 Instance State-change Notification", {"instance-id": instance_id, "state": name},
                 [arn(instance_id)])


def launched(record, asked_address):
    """A new record: give it its address and its machine before anybody sees it."""
    ip = asked_address or sandbox.allocate_address()
    record.update({"PrivateIpAddress": ip, "PrivateDnsName": f"ip-{ip.replace('.', '-')}.ec2.internal",
                   "State": {"Code": 0, "Name": "pending"}, "Architecture": "arm64"})
    interfaces.primary(record)
    sandbox.create(record)
    after(knob("boot_ms"), boot, record["InstanceId"], knob("agent_registers"))


def boot(instance_id, registers):
    with LOCK:
        if state(instance_id) != "pending":
            return
        set_state(instance_id, "running")
    if registers:
        after(knob("agent_ms"), register, instance_id)


def register(instance_id):
    if state(instance_id) == "running":
        AGENTS[instance_id] = now_ms()


def managed(instance_id):
    """Whether the SSM agent answers: SendCommand accepts the instance."""
    return instance_id in AGENTS and state(instance_id) == "running"


def hang(instance_id):
    """Nothing on the machine moves any more: processes stand still, commands are not taken, devices are not let go of."""
    HUNG.add(instance_id)
    stopped = list(sandbox.processes(instance_id))
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    return stopped


def terminate(instance_id):
    """End the instance: its processes die, its disks are wiped, its interfaces are freed. Idempotent."""
    with LOCK:
        if state(instance_id) in (None, "shutting-down", "terminated"):
            return {"killed": [], "data_paths": []}
        set_state(instance_id, "shutting-down")
        interfaces.instance_ends(instance_id)
    done = sandbox.destroy(instance_id)
    after(knob("terminate_ms"), terminated, instance_id)
    return done


def terminated(instance_id):
    with LOCK:
        set_state(instance_id, "terminated")
        record = emu.instances.get(instance_id)
        if record:
            record["_terminated_at"] = now_ms() / 1000
        interfaces.free(instance_id)


def terminate_action(original):
    def act(params):
        ids = emu.ec2_members(params, "InstanceId")
        for instance_id in ids:
            if instance_id not in emu.instances:
                return original(params)
        before = {i: dict(emu.instances[i]["State"]) for i in ids}
        for instance_id in ids:
            background(f"terminate-{instance_id}", terminate, instance_id)
        items = "".join(
            f"<item><instanceId>{i}</instanceId><currentState><code>32</code><name>shutting-down</name></currentState>"
            f"<previousState><code>{s['Code']}</code><name>{s['Name']}</name></previousState></item>"
            for i, s in before.items())
        return emu.ec2_xml(200, "TerminateInstancesResponse", f"<instancesSet>{items}</instancesSet>")
    return act


def install():
    emu.on_launch(launched)
    emu.instance_xml_adds(lambda record: interfaces.instance_xml(record["InstanceId"]))
    emu.ec2_actions({"TerminateInstances": terminate_action(emu.original_ec2_action("TerminateInstances"))})
