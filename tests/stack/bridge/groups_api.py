"""The Auto Scaling API in front of groups.py: query parameters in, XML out, with the service's own errors."""
from xml.sax.saxutils import escape

import emulator as emu
import groups
from context import LOCK, after

GROUP_FIELDS = ("AutoScalingGroupName", "AutoScalingGroupARN", "MinSize", "MaxSize", "DesiredCapacity", "DefaultCooldown",
                "AvailabilityZones", "HealthCheckType", "HealthCheckGracePeriod", "CreatedTime", "VPCZoneIdentifier",
                "TerminationPolicies", "NewInstancesProtectedFromScaleIn", "Tags")
MEMBER_FIELDS = ("InstanceId", "InstanceType", "AvailabilityZone", "LifecycleState", "HealthStatus",
                 "ProtectedFromScaleIn", "LaunchTemplate")
HOOK_FIELDS = ("LifecycleTransition", "HeartbeatTimeout", "DefaultResult", "NotificationTargetARN", "RoleARN",
               "NotificationMetadata")


def p(params, key):
    return emu.asg_param(params, key)


def invalid(message):
    return emu.asg_error("ValidationError", escape(message))


def no_group():
    return invalid("AutoScalingGroup name not found - null")


def answer(action, result=None):
    body = emu.xml_members(result) if result is not None else ""
    return emu.asg_xml(200, f"{action}Response", f"<{action}Result>{body}</{action}Result>")


def member_view(member):
    view = {k: member[k] for k in MEMBER_FIELDS if member.get(k) not in (None, {}, "")}
    if "LaunchTemplate" in view:
        view["LaunchTemplate"] = {k: str(v) for k, v in view["LaunchTemplate"].items()}
    return view


def group_view(group):
    name = group["AutoScalingGroupName"]
    view = {k: group[k] for k in GROUP_FIELDS if group.get(k) not in (None, "")}
    view["Instances"] = [member_view(m) for m in group["Instances"]]
    view["SuspendedProcesses"] = [{"ProcessName": k, "SuspensionReason": v}
                                  for k, v in sorted(groups.SUSPENDED.get(name, {}).items())]
    if group.get("LaunchTemplate"):
        view["LaunchTemplate"] = {k: str(v) for k, v in group["LaunchTemplate"].items()}
    if name in groups.POLICIES:
        view["InstanceLifecyclePolicy"] = {"RetentionTriggers": {"TerminateHookAbandon": groups.POLICIES[name]}}
    return view


def page(items, params, key):
    size, start = int(p(params, "MaxRecords") or 50), int(p(params, "NextToken") or 0)
    result = {key: items[start:start + size]}
    if start + size < len(items):
        result["NextToken"] = str(start + size)
    return result


def describe_groups(params):
    names = emu.asg_members(params, "AutoScalingGroupNames")
    with LOCK:
        found = [group_view(g) for n, g in sorted(emu.groups.items()) if not names or n in names]
    return answer("DescribeAutoScalingGroups", page(found, params, "AutoScalingGroups"))


def describe_instances(params):
    ids = emu.asg_members(params, "InstanceIds")
    with LOCK:
        found = [{**member_view(m), "AutoScalingGroupName": g["AutoScalingGroupName"],
                  "HealthStatus": m["HealthStatus"].upper()}
                 for g in emu.groups.values() for m in g["Instances"] if not ids or m["InstanceId"] in ids]
    return answer("DescribeAutoScalingInstances", page(found, params, "AutoScalingInstances"))


def describe_hooks(params):
    group = p(params, "AutoScalingGroupName")
    if group not in emu.groups:
        return no_group()
    names = emu.asg_members(params, "LifecycleHookNames")
    found = [{**{k: h[k] for k in ("LifecycleHookName", "AutoScalingGroupName", *HOOK_FIELDS) if h.get(k)},
              "GlobalTimeout": min(172800, 100 * h["HeartbeatTimeout"])}
             for h in emu.hooks.values()
             if h["AutoScalingGroupName"] == group and (not names or h["LifecycleHookName"] in names)]
    return answer("DescribeLifecycleHooks", {"LifecycleHooks": found})


def describe_activities(params):
    name, wanted = p(params, "AutoScalingGroupName"), emu.asg_members(params, "ActivityIds")
    with LOCK:
        found = [a for n, entries in groups.ACTIVITIES.items() if not name or n == name for a in entries
                 if not wanted or a["ActivityId"] in wanted]
    return answer("DescribeScalingActivities", page(found, params, "Activities"))


# --- lifecycle actions -------------------------------------------------------------------------------------------

def action_key(params):
    """(key, None) of the action meant by token or instance id, or (None, the service's error)."""
    group, hook = p(params, "AutoScalingGroupName"), p(params, "LifecycleHookName")
    token, instance = p(params, "LifecycleActionToken"), p(params, "InstanceId")
    if group not in emu.groups:
        return None, invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{group}' not found")
    if not token and not instance:
        return None, invalid("Either LifecycleActionToken or InstanceId must be specified")
    for key, action in groups.ACTIONS.items():
        if key[0] == group and key[1] == hook and (action["token"] == token if token else key[2] == instance):
            return key, None
    meant = f"token {token}" if token else f"instance ID {instance}"
    return None, invalid(f"No active Lifecycle Action found with {meant}")


def complete(params):
    result = p(params, "LifecycleActionResult")
    if result not in ("CONTINUE", "ABANDON"):
        return invalid(f"Lifecycle Action Result must be one of CONTINUE, ABANDON, not {result}")
    with LOCK:
        key, error = action_key(params)
        if error:
            return error
        groups.finish(key, result)
    return answer("CompleteLifecycleAction")


def heartbeat(params):
    with LOCK:
        key, error = action_key(params)
        if error:
            return error
        groups.beat(key)
    return answer("RecordLifecycleActionHeartbeat")


# --- groups ------------------------------------------------------------------------------------------------------

def write_hook(group, spec):
    emu.hooks[f"{group}/{spec['LifecycleHookName']}"] = {
        "LifecycleHookName": spec["LifecycleHookName"], "AutoScalingGroupName": group,
        "LifecycleTransition": spec.get("LifecycleTransition") or groups.LAUNCHING,
        "HeartbeatTimeout": int(spec.get("HeartbeatTimeout") or 3600), "DefaultResult": spec.get("DefaultResult") or "ABANDON",
        "NotificationTargetARN": spec.get("NotificationTargetARN") or "", "RoleARN": spec.get("RoleARN") or "",
        "NotificationMetadata": spec.get("NotificationMetadata") or "",
    }


def put_hook(params):
    group = p(params, "AutoScalingGroupName")
    if group not in emu.groups:
        return no_group()
    if p(params, "HeartbeatTimeout") and not 30 <= int(p(params, "HeartbeatTimeout")) <= 7200:
        return invalid("HeartbeatTimeout must be between 30 and 7200")
    write_hook(group, {k: p(params, k) for k in ("LifecycleHookName", *HOOK_FIELDS)})
    return answer("PutLifecycleHook")


def wrapped_create(original):
    def create(params):
        name, n = p(params, "AutoScalingGroupName"), 1
        response = original(params)
        if response[0] != 200:
            return response
        while p(params, f"LifecycleHookSpecificationList.member.{n}.LifecycleHookName"):
            at = f"LifecycleHookSpecificationList.member.{n}."
            write_hook(name, {k: p(params, at + k) for k in ("LifecycleHookName", *HOOK_FIELDS)})
            n += 1
        policy = p(params, "InstanceLifecyclePolicy.RetentionTriggers.TerminateHookAbandon")
        if policy:
            groups.POLICIES[name] = policy
        groups.reconcile(emu.groups[name])
        return response
    return create


def wrapped_update(original):
    def update(params):
        response, name = original(params), p(params, "AutoScalingGroupName")
        policy = p(params, "InstanceLifecyclePolicy.RetentionTriggers.TerminateHookAbandon")
        if response[0] == 200 and policy:
            groups.POLICIES[name] = policy
        return response
    return update


def delete_group(params):
    name = p(params, "AutoScalingGroupName")
    if name not in emu.groups:
        return no_group()
    if emu.groups[name]["Instances"] and p(params, "ForceDelete") != "true":
        return emu.asg_error("ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances or pending "
                                              "Spot instance request(s) still in the group.")
    groups.remove(name)
    return answer("DeleteAutoScalingGroup")


def set_health(params):
    with LOCK:
        group, member = groups.find(p(params, "InstanceId"))
        if member is None:
            return invalid(f"Instance Id not found - No managed instance found for instance ID: {p(params, 'InstanceId')}")
        if p(params, "HealthStatus") not in ("Healthy", "Unhealthy"):
            return invalid("HealthStatus must be one of Healthy, Unhealthy")
        member["HealthStatus"] = p(params, "HealthStatus")
    after(0, groups.reconcile, group)
    return answer("SetInstanceHealth")


def terminate_instance(params):
    with LOCK:
        group, member = groups.find(p(params, "InstanceId"))
        if member is None:
            return invalid(f"Instance Id not found - No managed instance found for instance ID: {p(params, 'InstanceId')}")
        if p(params, "ShouldDecrementDesiredCapacity") == "true":
            if group["DesiredCapacity"] <= group["MinSize"]:
                return invalid("Currently, desiredSize equals minSize. Terminating instance without replacement will "
                               "violate group's min size constraint.")
            group["DesiredCapacity"] -= 1
        cause = "a user request to terminate the instance"
        if member["LifecycleState"] == "Terminating:Retained":
            member["LifecycleState"] = "Terminating"
            entry = groups.activity(group, f"Terminating EC2 instance: {member['InstanceId']}", cause)
            after(0, groups.gone, group, member)
        else:
            groups.start_terminate(group, member, cause)
            entry = groups.ACTIVITIES[group["AutoScalingGroupName"]][0]
    after(0, groups.reconcile, group)
    return answer("TerminateInstanceInAutoScalingGroup", {"Activity": entry})


def change_suspension(suspend):
    def change(params):
        name = p(params, "AutoScalingGroupName")
        if name not in emu.groups:
            return no_group()
        wanted = emu.asg_members(params, "ScalingProcesses") or list(groups.PROCESSES)
        unknown = [w for w in wanted if w not in groups.PROCESSES]
        if unknown:
            return invalid(f"{', '.join(unknown)} is not a valid scaling process")
        with LOCK:
            stopped = groups.SUSPENDED.setdefault(name, {})
            for process in wanted:
                if suspend:
                    stopped[process] = f"User suspended at {emu.iso_now()}"
                else:
                    stopped.pop(process, None)
        after(0, groups.reconcile, emu.groups[name])
        return answer("SuspendProcesses" if suspend else "ResumeProcesses")
    return change


def template_group(name, props):
    """What CloudFormation's own group handler leaves out: hooks, retention, and instances at all."""
    for key in [k for k, h in emu.hooks.items() if h["AutoScalingGroupName"] == name]:
        emu.hooks.pop(key, None)
    for spec in props.get("LifecycleHookSpecificationList") or []:
        write_hook(name, spec)
    policy = ((props.get("InstanceLifecyclePolicy") or {}).get("RetentionTriggers") or {}).get("TerminateHookAbandon")
    if policy:
        groups.POLICIES[name] = policy
    after(0, groups.reconcile, emu.groups[name])


ACTIONS = ("CreateAutoScalingGroup", "UpdateAutoScalingGroup", "DeleteAutoScalingGroup", "DescribeAutoScalingGroups",
           "DescribeAutoScalingInstances", "DescribeLifecycleHooks", "DescribeScalingActivities", "PutLifecycleHook",
           "CompleteLifecycleAction", "RecordLifecycleActionHeartbeat", "SetInstanceHealth",
           "TerminateInstanceInAutoScalingGroup", "SuspendProcesses", "ResumeProcesses")


def install():
    emu.group_reconciler(lambda group: after(0, groups.reconcile, group))
    originals = emu.asg_originals()
    emu.asg_actions({
        "CreateAutoScalingGroup": wrapped_create(originals["CreateAutoScalingGroup"]),
        "UpdateAutoScalingGroup": wrapped_update(originals["UpdateAutoScalingGroup"]),
        "DeleteAutoScalingGroup": delete_group, "DescribeAutoScalingGroups": describe_groups,
        "DescribeAutoScalingInstances": describe_instances, "DescribeLifecycleHooks": describe_hooks,
        "DescribeScalingActivities": describe_activities, "PutLifecycleHook": put_hook,
        "CompleteLifecycleAction": complete, "RecordLifecycleActionHeartbeat": heartbeat, "SetInstanceHealth": set_health,
        "TerminateInstanceInAutoScalingGroup": terminate_instance, "SuspendProcesses": change_suspension(True),
        "ResumeProcesses": change_suspension(False),
    })
    emu.extend_resource_type("AWS::AutoScaling::AutoScalingGroup", template_group)
    emu.replace_delete("AWS::AutoScaling::AutoScalingGroup", lambda name, props: groups.remove(name))
    groups.health_check()
