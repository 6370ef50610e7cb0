"""Auto Scaling groups as they behave: lifecycle hooks that wait, time out, and are answered by whoever holds the token;
replacements that start while their predecessor is still being let go; instances retained when their hook is abandoned.

Sources: Auto Scaling user guide (lifecycle hooks, instance lifecycle, retention); the API's own wording of errors.
Timers of hooks run in the emulator's seconds (knob second_ms).
"""
import time

import emulator as emu
import emulator_events as events
import machines
from context import LOCK, after, knob, log

ACTIONS = {}          # (group, hook, instance id) -> {token, transition, hook, heartbeat, deadline}
ACTIVITIES = {}       # group -> newest first
SUSPENDED = {}        # group -> {process: reason}
POLICIES = {}         # group -> terminate | retain
PROCESSES = ("Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AZRebalance", "AlarmNotification",
             "ScheduledActions", "AddToLoadBalancer", "InstanceRefresh")
LAUNCHING, TERMINATING = "autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"


def suspended(group, process):
    return process in SUSPENDED.get(group["AutoScalingGroupName"], {})


def find(instance_id):
    for group in emu.groups.values():
        for member in group["Instances"]:
            if member["InstanceId"] == instance_id:
                return group, member
    return None, None


def activity(group, text, cause, status="InProgress", progress=0):
    entry = {"ActivityId": emu.new_id(), "AutoScalingGroupName": group["AutoScalingGroupName"], "Description": text,
             "Cause": cause, "StartTime": emu.iso_now(), "StatusCode": status, "Progress": progress,
             "Details": '{"Availability Zone":"us-east-1a"}', "AutoScalingGroupARN": group["AutoScalingGroupARN"]}
    ACTIVITIES.setdefault(group["AutoScalingGroupName"], []).insert(0, entry)
    return entry


def finish_activity(group, instance_id, status, message=""):
    for entry in ACTIVITIES.get(group["AutoScalingGroupName"], []):
        if instance_id in entry["Description"] and "EndTime" not in entry:
            entry.update({"StatusCode": status, "EndTime": emu.iso_now(), "Progress": 100})
            if message:
                entry["StatusMessage"] = message
            return entry
    return None


def tell(group, member, outcome):
    """`EC2 Instance <Launch|Terminate> <Successful|Unsuccessful>`."""
    ok = outcome.endswith("Successful")
    done = finish_activity(group, member["InstanceId"], "Successful" if ok else "Failed") or {}
    events.emit("aws.autoscaling", f"EC2 Instance {outcome}", {
        "StatusCode": "InProgress" if ok else "Failed", "AutoScalingGroupName": group["AutoScalingGroupName"],
        "Description": done.get("Description", ""), "ActivityId": done.get("ActivityId", ""), "Cause": done.get("Cause", ""),
        "Details": {"Availability Zone": "us-east-1a", "Subnet ID": subnet_of(group)}, "RequestId": done.get("ActivityId", ""),
        "StatusMessage": "", "StartTime": done.get("StartTime", ""), "EndTime": emu.iso_now(),
        "EC2InstanceId": member["InstanceId"],
    }, [group["AutoScalingGroupARN"], machines.arn(member["InstanceId"])])


def subnet_of(group):
    return (group.get("VPCZoneIdentifier") or "").split(",")[0] or emu.default_subnet()


def hook_of(group, transition):
    return next((h for h in emu.hooks.values() if h["AutoScalingGroupName"] == group["AutoScalingGroupName"]
                 and h["LifecycleTransition"] == transition), None)


# --- lifecycle actions -------------------------------------------------------------------------------------------

def arm(group, member, hook):
    """The member waits under the hook: tell the world, start the timers."""
    key = (group["AutoScalingGroupName"], hook["LifecycleHookName"], member["InstanceId"])
    limit = min(172800, 100 * hook["HeartbeatTimeout"]) * knob("second_ms")
    action = {"token": emu.new_id(), "transition": hook["LifecycleTransition"], "hook": dict(hook), "timers": {}}
    ACTIONS[key] = action
    beat(key)
    start_timer(action, "deadline", limit, key)
    launching = hook["LifecycleTransition"] == LAUNCHING
    detail = {"LifecycleActionToken": action["token"], "AutoScalingGroupName": key[0], "LifecycleHookName": key[1],
              "EC2InstanceId": key[2], "LifecycleTransition": hook["LifecycleTransition"],
              "Origin": "EC2" if launching else "AutoScalingGroup", "Destination": "AutoScalingGroup" if launching else "EC2"}
    if hook.get("NotificationMetadata"):
        detail["NotificationMetadata"] = hook["NotificationMetadata"]
    events.emit("aws.autoscaling", f"EC2 Instance-{'launch' if launching else 'terminate'} Lifecycle Action", detail,
             [group["AutoScalingGroupARN"]])


def beat(key):
    """Start the heartbeat's time again."""
    action = ACTIONS[key]
    start_timer(action, "heartbeat", action["hook"]["HeartbeatTimeout"] * knob("second_ms"), key)


def start_timer(action, name, delay_ms, key):
    if name in action["timers"]:
        action["timers"][name][0].cancel()
    action["timers"][name] = (after(delay_ms, expire, key, action["token"]), time.monotonic() * 1000 + delay_ms)


def pass_time(seconds):
    """Every hook's timers get so many seconds nearer to their end, at once: tests need not wait, nor race a short timer."""
    with LOCK:
        for key, action in list(ACTIONS.items()):
            for name, (_, due_ms) in list(action["timers"].items()):
                start_timer(action, name, due_ms - time.monotonic() * 1000 - seconds * knob("second_ms"), key)


def expire(key, token):
    with LOCK:
        action = ACTIONS.get(key)
        if action and action["token"] == token:
            log.info("lifecycle action %s timed out: %s", key, action["hook"]["DefaultResult"])
            finish(key, action["hook"]["DefaultResult"])


def drop(key):
    action = ACTIONS.pop(key, None)
    for timer, _ in (action or {"timers": {}})["timers"].values():
        timer.cancel()
    return action


def finish(key, result):
    """The action is answered or over: the member moves on."""
    with LOCK:
        action, group = drop(key), emu.groups.get(key[0])
        member = next((m for m in (group or {}).get("Instances", []) if m["InstanceId"] == key[2]), None)
        if not action or member is None:
            return
        if action["transition"] == LAUNCHING:
            if result == "CONTINUE":
                member["LifecycleState"] = "Pending:Proceed"
                after(knob("proceed_ms"), in_service, group, member)
            else:
                tell(group, member, "Launch Unsuccessful")
                start_terminate(group, member, "the launch hook was abandoned",
                                hooked=knob("terminate_hook_after_launch_abandon"))
                after(0, reconcile, group)
        elif result != "CONTINUE" and POLICIES.get(key[0]) == "retain":
            member["LifecycleState"] = "Terminating:Retained"
            finish_activity(group, key[2], "Failed", "retained: the terminate hook was abandoned")
        else:
            member["LifecycleState"] = "Terminating:Proceed"
            after(knob("proceed_ms"), gone, group, member)


def in_service(group, member):
    with LOCK:
        if member["LifecycleState"].startswith("Pending"):
            member["LifecycleState"] = "InService"
            tell(group, member, "Launch Successful")


# --- launching and terminating -----------------------------------------------------------------------------------

def launch(group):
    name = group["AutoScalingGroupName"]
    with LOCK:
        group["_launching"] = max(group.get("_launching", 1) - 1, 0)
        if emu.groups.get(name) is not group or suspended(group, "Launch") or missing(group) <= 0:
            return
        data, error = emu.launch_template_data(group.get("LaunchTemplate") or {})
        if error:
            activity(group, f"Launching a new EC2 instance. Status Reason: {error}", "launch", "Failed", 100)
            return
        tags = {t["Key"]: t["Value"] for t in group.get("Tags") or [] if t.get("PropagateAtLaunch")}
        record = emu.launch_instance(data, subnet_of(group), {**tags, "aws:autoscaling:groupName": name})
        instance_id = record["InstanceId"]
        member = {"InstanceId": instance_id, "LifecycleState": "Pending", "HealthStatus": "Healthy",
                  "AvailabilityZone": "us-east-1a", "ProtectedFromScaleIn": bool(group["NewInstancesProtectedFromScaleIn"]),
                  "LaunchTemplate": group.get("LaunchTemplate") or {}, "LaunchConfigurationName": "",
                  "InstanceType": record["InstanceType"]}
        group["Instances"].append(member)
        activity(group, f"Launching a new EC2 instance: {instance_id}", "the group is below its desired capacity")
    after(knob("boot_ms"), pending, group, member)


def pending(group, member):
    with LOCK:
        if member["LifecycleState"] != "Pending":
            return
        hook = hook_of(group, LAUNCHING)
        if hook is None:
            in_service(group, member)
            return
        member["LifecycleState"] = "Pending:Wait"
        arm(group, member, hook)


def start_terminate(group, member, cause, hooked=True):
    """Leave the group's count now, and the group when the terminate hook lets go."""
    with LOCK:
        if member["LifecycleState"].startswith("Terminating"):
            return
        for key in [k for k in ACTIONS if k[0] == group["AutoScalingGroupName"] and k[2] == member["InstanceId"]]:
            drop(key)
        activity(group, f"Terminating EC2 instance: {member['InstanceId']}", cause)
        hook = hook_of(group, TERMINATING) if hooked else None
        if hook is None:
            member["LifecycleState"] = "Terminating"
            after(knob("proceed_ms"), gone, group, member)
            return
        member["LifecycleState"] = "Terminating:Wait"
        arm(group, member, hook)


def gone(group, member):
    """The instance is let go of: EC2 terminates it and the group forgets it."""
    machines.terminate(member["InstanceId"])
    with LOCK:
        group["Instances"][:] = [m for m in group["Instances"] if m is not member]
        tell(group, member, "Terminate Successful")
    reconcile(group)


def counted(group):
    return [m for m in group["Instances"] if not m["LifecycleState"].startswith("Terminating")]


def missing(group):
    return group["DesiredCapacity"] - len(counted(group)) - group.get("_launching", 0)


def reconcile(group):
    """Move the group towards its desired capacity; the old leaves and the new comes at the same time."""
    with LOCK:
        if emu.groups.get(group["AutoScalingGroupName"]) is not group:
            return
        for member in counted(group):
            state = machines.state(member["InstanceId"])
            dead = state in (None, "terminated", "shutting-down", "stopped", "stopping")
            if dead and not suspended(group, "HealthCheck"):
                member["HealthStatus"] = "Unhealthy"
            if member["HealthStatus"] != "Healthy" and not suspended(group, "ReplaceUnhealthy") \
                    and not suspended(group, "Terminate"):
                if member["LifecycleState"].startswith("Pending"):
                    tell(group, member, "Launch Unsuccessful")
                start_terminate(group, member, f"instance {member['InstanceId']} was taken out of service in response to "
                                               f"{'an EC2 health check' if dead else 'a user health-check'}")
        if not suspended(group, "Terminate"):
            for member in counted(group)[group["DesiredCapacity"]:]:
                start_terminate(group, member, "a user request to shrink the group")
        if not suspended(group, "Launch"):
            for _ in range(max(missing(group), 0)):
                group["_launching"] = group.get("_launching", 0) + 1
                after(knob("launch_ms"), launch, group)


def remove(name):
    """The group is deleted: its instances end without hooks (deleting it for real would wait for them)."""
    with LOCK:
        group = emu.groups.pop(name, None)
        for key in [k for k in ACTIONS if k[0] == name]:
            drop(key)
        for store in (SUSPENDED, POLICIES, ACTIVITIES, emu.group_tags):
            store.pop(name, None)
        for key in [k for k, h in emu.hooks.items() if h["AutoScalingGroupName"] == name]:
            emu.hooks.pop(key, None)
    for member in (group or {}).get("Instances", []):
        machines.terminate(member["InstanceId"])


def health_check():
    for group in list(emu.groups.values()):
        try:
            reconcile(group)
        except Exception:
            log.exception("health check of %s", group.get("AutoScalingGroupName"))
    after(knob("health_ms"), health_check)
