"""The Run Command API in front of commands.py, with Systems Manager's own refusals and its eventual consistency."""
import commands
import documents
import emulator as emu
import machines
from context import LOCK, knob, now_ms
from documents import Refused, guarded


def targets(data):
    ids = list(data.get("InstanceIds") or [])
    for target in data.get("Targets") or []:
        key, values = target.get("Key", ""), target.get("Values") or []
        if key.lower() == "instanceids":
            ids += values
        elif key.startswith("tag:"):
            ids += [i for i in emu.instances if machines.managed(i) and any(
                t["Key"] == key[4:] and t["Value"] in values for t in emu.ec2_tags.get(i, []))]
        else:
            raise Refused("InvalidTarget", f"The target {key} is not valid.")
    return ids


def send_command(data, access_key):
    if len(data.get("Comment") or "") > 100:
        raise Refused("ValidationException", "1 validation error detected: Value at 'comment' failed to satisfy constraint: "
                                             "Member must have length less than or equal to 100")
    if data.get("TimeoutSeconds") is not None and not 30 <= int(data["TimeoutSeconds"]) <= 2592000:
        raise Refused("ValidationException", "1 validation error detected: Value at 'timeoutSeconds' failed to satisfy "
                                             "constraint: Member must have value between 30 and 2592000")
    content, version, kind = documents.find(data.get("DocumentName") or "", data.get("DocumentVersion"), "InvalidDocument")
    if kind != "Command":
        raise Refused("InvalidDocument", f"Document {data['DocumentName']} is of type {kind}, not Command.")
    values = documents.parameters(content, data.get("Parameters") or {}, "InvalidParameters")
    names = targets(data)
    bad = [i for i in names if not machines.managed(i)]
    if bad or (data.get("InstanceIds") is not None and not names):
        raise Refused("InvalidInstanceId", f"Instances [[{', '.join(bad)}]] not in a valid state for account {emu.ACCOUNT}")
    return {"Command": command_view(commands.send(data, names, content, version, values))}


def command_view(command):
    states = [i["status"] for i in command["invocations"].values()]
    return {
        "CommandId": command["id"], "DocumentName": command["document"], "DocumentVersion": command["version"],
        "Comment": command["comment"], "ExpiresAfter": command["at"] / 1000 + 7200, "Parameters": command["parameters"],
        "InstanceIds": list(command["invocations"]), "Targets": [], "RequestedDateTime": command["at"] / 1000,
        "Status": command["status"], "StatusDetails": command["details"],
        "MaxConcurrency": "50", "MaxErrors": "0", "TargetCount": len(states),
        "CompletedCount": sum(s in commands.TERMINAL for s in states),
        "ErrorCount": sum(s in ("Failed", "TimedOut") for s in states), "DeliveryTimedOutCount": 0,
        "TimeoutSeconds": command["delivery_seconds"],
    }


def visible(command):
    return command is not None and now_ms() - command["at"] >= knob("visible_ms")


def get_invocation(data, access_key):
    command = commands.COMMANDS.get(data.get("CommandId") or "")
    invocation = (command or {}).get("invocations", {}).get(data.get("InstanceId") or "")
    if invocation is None or not visible(command):
        raise Refused("InvocationDoesNotExist", "")
    name, plugins = data.get("PluginName"), invocation["plugins"]
    if name is None and len(plugins) > 1:
        raise Refused("InvalidPluginName", "The command has several plugins: PluginName is needed.")
    plugin = next((p for p in plugins if name in (None, p["name"], p["action"] if len(plugins) == 1 else None)), None)
    if plugin is None:
        raise Refused("InvalidPluginName", f"The command has no plugin {name}.")
    with LOCK:
        # The whole invocation's end shows first where it never reached the plugin (lost, cancelled before it ran).
        over = invocation["status"] in commands.TERMINAL and plugin["status"] not in commands.TERMINAL
        return {
            "CommandId": command["id"], "InstanceId": invocation["instance"], "Comment": command["comment"],
            "DocumentName": command["document"], "DocumentVersion": command["version"], "PluginName": plugin["name"],
            "ResponseCode": plugin["code"], "ExecutionStartDateTime": plugin["start"] or "",
            "ExecutionElapsedTime": "" if plugin["end"] is None else "PT0.1S", "ExecutionEndDateTime": plugin["end"] or "",
            "Status": invocation["status"] if over or invocation["status"] == "Cancelling" else plugin["status"],
            "StatusDetails": invocation["details"] if over or invocation["status"] == "Cancelling" else plugin["details"],
            "StandardOutputContent": plugin["stdout"], "StandardOutputUrl": "",
            "StandardErrorContent": plugin["stderr"], "StandardErrorUrl": "",
            "CloudWatchOutputConfig": {"CloudWatchOutputEnabled": False},
        }


def invocation_view(command, invocation, details):
    view = {
        "CommandId": command["id"], "InstanceId": invocation["instance"], "InstanceName": "", "Comment": command["comment"],
        "DocumentName": command["document"], "DocumentVersion": command["version"],
        "RequestedDateTime": command["at"] / 1000, "Status": invocation["status"], "StatusDetails": invocation["details"],
        "StandardOutputUrl": "", "StandardErrorUrl": "", "CommandPlugins": [],
    }
    if details:
        for plugin in invocation["plugins"]:
            output = plugin["stdout"] + (f"\n----------ERROR-------\n{plugin['stderr']}" if plugin["stderr"] else "")
            view["CommandPlugins"].append({
                "Name": plugin["name"], "Status": plugin["status"], "StatusDetails": plugin["details"],
                "ResponseCode": plugin["code"], "Output": output[:commands.DETAIL_MAX]})
    return view


FILTERS = {
    "Status": lambda c, v: c["status"] == v,
    "DocumentName": lambda c, v: c["document"] == v,
    "InvokedAfter": lambda c, v: emu.iso_of(c["at"]) > v,
    "InvokedBefore": lambda c, v: emu.iso_of(c["at"]) < v,
    "ExecutionStage": lambda c, v: (c["status"] in commands.TERMINAL) == (v == "Complete"),
}


def chosen(data):
    """Commands the request means, newest first."""
    with LOCK:
        found = sorted((c for c in commands.COMMANDS.values() if visible(c)), key=lambda c: c["at"], reverse=True)
    if data.get("CommandId"):
        found = [c for c in found if c["id"] == data["CommandId"]]
    if data.get("InstanceId"):
        found = [c for c in found if data["InstanceId"] in c["invocations"]]
    for one in data.get("Filters") or []:
        if one["key"] not in FILTERS:
            raise Refused("InvalidFilterKey", f"The filter key {one['key']} is not valid.")
        found = [c for c in found if FILTERS[one["key"]](c, one["value"])]
    return found


def page(items, data, key):
    size, start = int(data.get("MaxResults") or 50), int(data.get("NextToken") or 0)
    result = {key: items[start:start + size]}
    if start + size < len(items):
        result["NextToken"] = str(start + size)
    return result


def list_commands(data, access_key):
    return page([command_view(c) for c in chosen(data)], data, "Commands")


def list_invocations(data, access_key):
    found = [invocation_view(c, i, data.get("Details")) for c in chosen(data) for i in c["invocations"].values()
             if not data.get("InstanceId") or i["instance"] == data["InstanceId"]]
    return page(found, data, "CommandInvocations")


def cancel_command(data, access_key):
    command = commands.COMMANDS.get(data.get("CommandId") or "")
    if command is None:
        raise Refused("InvalidCommandId", f"The command {data.get('CommandId')} does not exist.")
    commands.cancel(command, data.get("InstanceIds") or [])
    return {}


def instance_information(data, access_key):
    wanted = [v for f in data.get("Filters") or [] if f.get("Key") == "InstanceIds" for v in f.get("Values") or []]
    wanted += [v for f in data.get("InstanceInformationFilterList") or [] if f.get("key") == "InstanceIds"
               for v in f.get("valueSet") or []]
    ping = [v for f in data.get("Filters") or [] if f.get("Key") == "PingStatus" for v in f.get("Values") or []]
    if data.get("MaxResults") is not None and int(data["MaxResults"]) < 5:
        raise Refused("ValidationException", "1 validation error detected: Value at 'maxResults' failed to satisfy "
                                             "constraint: Member must have value greater than or equal to 5")
    found = []
    for instance_id, registered in sorted(machines.AGENTS.items()):
        state = machines.state(instance_id)
        if state in (None, "terminated") or (wanted and instance_id not in wanted):
            continue
        status = "Online" if state == "running" else "ConnectionLost"
        if ping and status not in ping:
            continue
        found.append({
            "InstanceId": instance_id, "PingStatus": status, "LastPingDateTime": registered / 1000,
            "AgentVersion": "3.3.2746.0", "IsLatestVersion": True, "PlatformType": "Linux", "PlatformName": "Amazon Linux",
            "PlatformVersion": "2023", "ResourceType": "EC2Instance", "IPAddress": machines.address(instance_id),
            "ComputerName": instance_id})
    return page(found, data, "InstanceInformationList")


def actions():
    return {name: guarded(fn) for name, fn in {
        "SendCommand": send_command, "GetCommandInvocation": get_invocation, "ListCommands": list_commands,
        "ListCommandInvocations": list_invocations, "CancelCommand": cancel_command,
        "DescribeInstanceInformation": instance_information}.items()}
