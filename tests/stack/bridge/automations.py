"""SSM Automation: schema 0.3 documents executed step by step, calling the emulator's own API as their role would.

Supported: aws:executeAwsApi, aws:waitForAwsResourceProperty, aws:assertAwsResourceProperty, aws:branch, aws:sleep; nextStep,
isEnd, onFailure (Abort, Continue, step:<name>), isCritical, timeoutSeconds, document outputs. Anything else fails by name.
"""
import json
import re
import time

import documents
import emulator as emu
import emulator_events as events
import own_api
from context import ACCOUNT, LOCK, REGION, background, knob, log
from documents import Refused, guarded

EXECUTIONS, TOKENS = {}, {}
# What AWS answers for an output of a step that did not run.
NO_OUTPUT = "No output available yet because the step is not successfully executed"
TERMINAL = ("Success", "Failed", "TimedOut", "Cancelled")


class StepFailed(Exception):
    """(message, timed out)"""


def select(selector, data):
    """The few JSONPath forms that documents use: $.A.B[0].C, [*], and ..Name. Raises KeyError when nothing is there."""
    found, many, rest = [data], False, selector.strip()
    if not rest.startswith("$"):
        raise KeyError(f"selector {selector} does not start with $")
    rest = rest[1:]
    while rest:
        match = re.match(r"\.\.(\w+)|\.(\w+)|\[(\d+)\]|\[\*\]", rest)
        if not match:
            raise KeyError(f"selector {selector} is not supported at {rest!r}")
        rest, deep, name, index = rest[match.end():], match.group(1), match.group(2), match.group(3)
        if deep:
            many, found = True, [v for f in found for v in descend(f, deep)]
        elif name:
            found = [f[name] for f in found if isinstance(f, dict) and name in f]
        elif index:
            found = [f[int(index)] for f in found if isinstance(f, list) and int(index) < len(f)]
        else:
            many, found = True, [v for f in found if isinstance(f, list) for v in f]
    if not many and not found:
        raise KeyError(f"selector {selector} found nothing")
    return found if many else found[0]


def descend(value, name):
    found = []
    if isinstance(value, dict):
        found += [v for k, v in value.items() if k == name]
        for v in value.values():
            found += descend(v, name)
    elif isinstance(value, list):
        for v in value:
            found += descend(v, name)
    return found


def converted(value, kind):
    if kind in ("StringList", "List<String>"):
        return [documents.text(v) for v in value] if isinstance(value, list) else [documents.text(value)]
    if kind == "Integer":
        return int(value)
    if kind == "Boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if kind == "String":
        return documents.text(value)
    return value


def start(content, name, version, values, given, access_key):
    execution_id = emu.new_id()
    execution = {
        "id": execution_id, "document": name, "version": version, "status": "Pending", "start": emu.epoch(), "end": None,
        "steps": [], "given": given, "values": {**values, "automation:EXECUTION_ID": execution_id, "global:REGION": REGION,
                                                "global:ACCOUNT_ID": ACCOUNT, "global:DATE_TIME": emu.iso_now()},
        "failure": None, "by": access_key, "content": content, "stop": False,
    }
    EXECUTIONS[execution_id] = execution
    for spec in content["mainSteps"]:
        execution["steps"].append({
            "StepName": spec["name"], "Action": spec["action"], "StepStatus": "Pending", "Inputs": {}, "Outputs": {},
            "OnFailure": spec.get("onFailure", "Abort"), "StepExecutionId": emu.new_id(),
            "IsEnd": bool(spec.get("isEnd")), "IsCritical": bool(spec.get("isCritical", True)),
            **({"NextStep": spec["nextStep"]} if spec.get("nextStep") else {})})
    background(f"automation-{execution_id[:8]}", drive, execution)
    return execution


def drive(execution):
    role = documents.interpolate(execution["content"].get("assumeRole") or "", execution["values"])
    caller = own_api.as_role(role, f"automation:{execution['document']}", execution["id"])
    specs = execution["content"]["mainSteps"]
    position, critical = 0, False
    set_status(execution, "InProgress")
    while position is not None and not execution["stop"]:
        spec, step = specs[position], execution["steps"][position]
        begun = time.time()
        step.update({"StepStatus": "InProgress", "ExecutionStartTime": emu.epoch()})
        goes, failed = None, None
        try:
            goes = perform(execution, spec, step, caller)
            step["StepStatus"] = "Success"
        except StepFailed as error:
            failed = error
        except Exception as error:  # a broken document or an API's refusal: the step's failure, not ours
            failed = StepFailed(f"{error}", False)
        step["ExecutionEndTime"] = emu.epoch()
        log.info("automation %s %s: %s in %.2fs", execution["document"], spec["name"], failed or "Success", time.time() - begun)
        policy = str(spec.get("onFailure", "Abort"))
        if failed:
            message = f"Step fails when it is Execute/Cancelling action. {str(failed.args[0]).rstrip('.')}. Please refer to Automation Service " \
                      "Troubleshooting Guide for more diagnosis details."
            step.update({"StepStatus": "TimedOut" if failed.args[1] else "Failed", "FailureMessage": message,
                         "FailureDetails": {"FailureStage": "Execution", "FailureType": "Verification",
                                            "Details": {"VerificationErrorMessage": [str(failed.args[0])]}}})
            critical = critical or step["IsCritical"]
            if policy.startswith("step:"):
                position = index_of(specs, policy[5:])
                continue
            if policy != "Continue":
                execution["failure"] = message
                set_status(execution, "TimedOut" if failed.args[1] else "Failed")
                return
        position = following(specs, position, spec, goes)
    if execution["stop"]:
        set_status(execution, "Cancelled")
    else:
        set_status(execution, "Failed" if critical else "Success")


def index_of(specs, name):
    for index, spec in enumerate(specs):
        if spec["name"] == name:
            return index
    raise StepFailed(f"step {name} does not exist", False)


def following(specs, position, spec, goes):
    """The next step's index, or None at the end."""
    if goes:
        return index_of(specs, goes)
    if spec.get("isEnd"):
        return None
    if spec.get("nextStep"):
        return index_of(specs, spec["nextStep"])
    return position + 1 if position + 1 < len(specs) else None


def perform(execution, spec, step, caller):
    """Do one step; answers the step to go to for a branch."""
    inputs = spec.get("inputs") or {}
    try:
        inputs = documents.interpolate(inputs, execution["values"], strict=True)
    except KeyError as error:
        raise StepFailed(f"{{{{ {error.args[0]} }}}} has no value", False) from error
    step["Inputs"] = {k: json.dumps(v, default=str) for k, v in inputs.items()}
    action = spec["action"]
    if action == "aws:branch":
        return branch(inputs)
    if action == "aws:sleep":
        pause(execution, duration(inputs["Duration"]))
        return None
    if action not in ("aws:executeAwsApi", "aws:waitForAwsResourceProperty", "aws:assertAwsResourceProperty"):
        raise StepFailed(f"action {action} is not supported by this stack", False)
    request = {k: v for k, v in inputs.items() if k not in ("Service", "Api", "PropertySelector", "DesiredValues")}
    deadline = time.time() + float(documents.interpolate(spec.get("timeoutSeconds", 3600), execution["values"])) \
        * knob("command_second_ms") / 1000
    while True:
        answer = own_api.call(inputs["Service"], inputs["Api"], request, caller)
        if action == "aws:executeAwsApi":
            for output in spec.get("outputs") or []:
                put_output(execution, spec["name"], step, output, answer)
            return None
        wanted = [documents.text(v) for v in inputs["DesiredValues"]]
        try:
            seen = select(inputs["PropertySelector"], answer)
            ok = all(documents.text(v) in wanted for v in (seen if isinstance(seen, list) else [seen])) and seen != []
        except KeyError as error:
            seen, ok = error.args[0], False
        if ok:
            return None
        if action == "aws:assertAwsResourceProperty":
            raise StepFailed(f"Verification failed: {inputs['PropertySelector']} is {seen}, not one of {wanted}", False)
        if time.time() > deadline:
            raise StepFailed(f"timed out: {inputs['PropertySelector']} is {seen}, not one of {wanted}", True)
        pause(execution, knob("automation_poll_ms") / 1000)


def put_output(execution, step_name, step, output, answer):
    try:
        value = converted(select(output["Selector"], answer), output.get("Type", "String"))
    except (KeyError, ValueError, TypeError) as error:
        raise StepFailed(f"output {output['Name']}: {error}", False) from error
    execution["values"][f"{step_name}.{output['Name']}"] = value
    step["Outputs"][output["Name"]] = [documents.text(v) for v in value] if isinstance(value, list) else [documents.text(value)]


def pause(execution, seconds):
    until = time.time() + seconds
    while time.time() < until and not execution["stop"]:
        time.sleep(min(0.05, max(until - time.time(), 0)))


def duration(text):
    match = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?", text)
    if not match:
        raise StepFailed(f"{text} is not an ISO 8601 duration", False)
    hours, minutes, seconds = (int(g or 0) for g in match.groups())
    return (hours * 3600 + minutes * 60 + seconds) * knob("command_second_ms") / 1000


COMPARE = {
    "StringEquals": lambda a, b: documents.text(a) == documents.text(b),
    "EqualsIgnoreCase": lambda a, b: documents.text(a).lower() == documents.text(b).lower(),
    "StartsWith": lambda a, b: documents.text(a).startswith(documents.text(b)),
    "EndsWith": lambda a, b: documents.text(a).endswith(documents.text(b)),
    "Contains": lambda a, b: documents.text(b) in a if isinstance(a, list) else documents.text(b) in documents.text(a),
    "NumericEquals": lambda a, b: float(a) == float(b), "NumericGreater": lambda a, b: float(a) > float(b),
    "NumericLesser": lambda a, b: float(a) < float(b), "NumericGreaterOrEquals": lambda a, b: float(a) >= float(b),
    "NumericLesserOrEquals": lambda a, b: float(a) <= float(b),
    "BooleanEquals": lambda a, b: documents.text(a).lower() == documents.text(b).lower(),
}


def holds(choice):
    if "And" in choice:
        return all(holds(c) for c in choice["And"])
    if "Or" in choice:
        return any(holds(c) for c in choice["Or"])
    if "Not" in choice:
        return not holds(choice["Not"])
    operator = next((o for o in COMPARE if o in choice), None)
    if operator is None or "Variable" not in choice:
        raise StepFailed(f"the choice {choice} has no known comparison", False)
    return COMPARE[operator](choice["Variable"], choice[operator])


def branch(inputs):
    for choice in inputs["Choices"]:
        if holds(choice):
            return choice["NextStep"]
    return inputs.get("Default")


def set_status(execution, status):
    with LOCK:
        execution["status"] = status
        if status in TERMINAL:
            execution["end"] = emu.epoch()
    events.emit("aws.ssm", "EC2 Automation Execution Status-change Notification", {
        "ExecutionId": execution["id"], "Definition": execution["document"], "DefinitionVersion": execution["version"],
        "Status": status, "StartTime": emu.iso_now(), "EndTime": emu.iso_now(), "Time": 0.0, "ExecutedBy": execution["by"]})


# --- the API -----------------------------------------------------------------------------------------------------

def start_execution(data, access_key):
    content, version, kind = documents.find(data.get("DocumentName") or "", data.get("DocumentVersion"),
                                            "AutomationDefinitionNotFoundException")
    name = data["DocumentName"].rsplit("/", 1)[-1]
    if kind != "Automation":
        raise Refused("AutomationDefinitionNotFoundException", f"{name} is of type {kind}, not Automation.")
    given = data.get("Parameters") or {}
    token = data.get("ClientToken")
    if token and not re.fullmatch(r"[a-fA-F0-9]{8}(-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}", token):
        raise Refused("ValidationException", "1 validation error detected: Value at 'clientToken' failed to satisfy "
                                             "constraint: Member must satisfy regular expression pattern: a UUID")
    with LOCK:
        if token in TOKENS:
            earlier = EXECUTIONS[TOKENS[token]]
            if (earlier["document"], earlier["given"]) != (name, given):
                raise Refused("IdempotentParameterMismatch", "The client token was used with other parameters.")
            return {"AutomationExecutionId": earlier["id"]}
        values = documents.parameters(content, given, "InvalidAutomationExecutionParametersException")
        execution = start(content, name, str(version), values, given, access_key)
        if token:
            TOKENS[token] = execution["id"]
    return {"AutomationExecutionId": execution["id"]}


def outputs(execution):
    result = {}
    for name in execution["content"].get("outputs") or []:
        value = execution["values"].get(name, NO_OUTPUT)
        result[name] = [documents.text(v) for v in value] if isinstance(value, list) else [documents.text(value)]
    return result


def view(execution):
    current = next((s["StepName"] for s in execution["steps"] if s["StepStatus"] == "InProgress"), None)
    return {key: value for key, value in {
        "AutomationExecutionId": execution["id"], "DocumentName": execution["document"],
        "DocumentVersion": execution["version"], "AutomationExecutionStatus": execution["status"],
        "ExecutionStartTime": execution["start"], "ExecutionEndTime": execution["end"], "Outputs": outputs(execution),
        "FailureMessage": execution["failure"], "Mode": "Auto", "CurrentStepName": current,
        "ExecutedBy": f"arn:aws:iam::{ACCOUNT}:user/{execution['by']}", "ResolvedTargets": {"ParameterValues": [], "Truncated": False},
    }.items() if value is not None}


def get_execution(data, access_key):
    execution = EXECUTIONS.get(data.get("AutomationExecutionId") or "")
    if execution is None:
        raise Refused("AutomationExecutionNotFoundException",
                      f"Couldn't find an automation execution with id {data.get('AutomationExecutionId')}.")
    with LOCK:
        return {"AutomationExecution": {**view(execution), "Parameters": execution["given"],
                                        "StepExecutions": [dict(s) for s in execution["steps"]],
                                        "StepExecutionsTruncated": False}}


FILTERS = {
    "DocumentNamePrefix": lambda e, v: e["document"].startswith(v), "ExecutionStatus": lambda e, v: e["status"] == v,
    "ExecutionId": lambda e, v: e["id"] == v,
}


def describe_executions(data, access_key):
    found = sorted(EXECUTIONS.values(), key=lambda e: e["start"], reverse=True)
    for one in data.get("Filters") or []:
        if one["Key"] not in FILTERS:
            raise Refused("InvalidFilterKey", f"The filter key {one['Key']} is not supported by this stack.")
        found = [e for e in found if any(FILTERS[one["Key"]](e, v) for v in one["Values"])]
    return {"AutomationExecutionMetadataList": [view(e) for e in found[: int(data.get("MaxResults") or 50)]]}


def stop_execution(data, access_key):
    execution = EXECUTIONS.get(data.get("AutomationExecutionId") or "")
    if execution is None:
        raise Refused("AutomationExecutionNotFoundException", "Couldn't find the automation execution.")
    execution["stop"] = True
    return {}


def actions():
    return {name: guarded(fn) for name, fn in {
        "StartAutomationExecution": start_execution, "GetAutomationExecution": get_execution,
        "DescribeAutomationExecutions": describe_executions, "StopAutomationExecution": stop_execution}.items()}
