"""EventBridge, its schedules, and Lambda as ministack has them: switched, doubled, retried, and named.

With emulator.py and emulator_s3.py the only files that know the emulator's insides.
"""
import json
import os
import threading
import time

from ministack.core import lambda_runtime
from ministack.services import eventbridge, lambda_svc, s3, scheduler

import emulator_s3
from context import KNOBS, STACK_DIR, after, log
from emulator import AUTH

# --- EventBridge and schedules -----------------------------------------------------------------------------------

_firing = threading.local()
counts = {"s3_events": 0, "s3_events_dropped": 0, "other_events": 0, "other_events_dropped": 0}


def emit(source, detail_type, detail, resources=()):
    """An AWS service's own event on the default bus, a little after what it tells of."""
    if not KNOBS["other_events"]:
        counts["other_events_dropped"] += 1
        return
    entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail), "Resources": list(resources)}

    def send():
        for _ in range(KNOBS["event_copies"]):
            counts["other_events"] += 1
            eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    after(KNOBS["event_ms"], send)


def _install_events():
    fire, dispatch = s3._fire_s3_event, eventbridge._dispatch_event
    ticks, schedules = eventbridge._tick_scheduled_rules, scheduler._tick_schedules

    def fire_s3_event(*args, **kwargs):
        if not KNOBS["s3_events"]:
            counts["s3_events_dropped"] += 1
            return
        _firing.version = kwargs.get("version_id")
        try:
            for _ in range(KNOBS["event_copies"]):
                counts["s3_events"] += 1
                fire(*args, **kwargs)
        finally:
            _firing.version = None

    def dispatch_event(event, view=None):
        version = getattr(_firing, "version", None)
        if version and event.get("Source") == "aws.s3":  # AWS names the version; the emulator does not
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        return dispatch(event, view)

    def if_on(fn):
        def run():
            if KNOBS["schedules"]:
                fn()
        return run
    s3._fire_s3_event, eventbridge._dispatch_event = fire_s3_event, dispatch_event
    eventbridge._tick_scheduled_rules, scheduler._tick_schedules = if_on(ticks), if_on(schedules)
    eventbridge._SCHEDULER_TICK_INTERVAL = 1
    return ticks


def tick(name_contains=""):
    """Fire every enabled scheduled rule whose name contains the text, now, whatever the schedules knob says."""
    fired = []
    now = time.time()
    for key, rule in eventbridge._rules.all_items():
        if rule.get("ScheduleExpression") and rule.get("State") == "ENABLED":
            chosen = name_contains in rule["Name"]
            eventbridge._rule_last_fired[key] = 0 if chosen else max(eventbridge._rule_last_fired.get(key, now), now - 1)
            if chosen:
                fired.append(rule["Name"])
    _original_tick()
    return fired


# --- Lambda ------------------------------------------------------------------------------------------------------

HOST_ENVIRONMENT = ("PATH", "LANG", "TZ")


def _install_lambda():
    environment, credentials = lambda_svc._provided_worker_env, lambda_runtime.execution_credentials
    pump = lambda_runtime.ProvidedWorker._pump_output

    def worker_environment(config, code_dir, port):
        given = environment(config, code_dir, port)
        mine = {k: v for k, v in given.items() if k in HOST_ENVIRONMENT or os.environ.get(k) != v}
        mine.update({k: v for k, v in (config.get("Environment") or {}).get("Variables", {}).items()})
        mine["AWS_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"]
        mine["AWS_LAMBDA_LOG_GROUP_NAME"] = f"/aws/lambda/{config.get('FunctionName')}"
        mine["AWS_LAMBDA_INITIALIZATION_TYPE"] = "on-demand"
        return mine

    def execution_credentials(config):
        name = f"fn:{config.get('FunctionName')}"
        if not AUTH:  # the access key names the caller in the access log
            return {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": "local", "AWS_SESSION_TOKEN": "local"}
        given = credentials(config)
        emulator_s3.NAMES[given["AWS_ACCESS_KEY_ID"]] = name
        return given

    def pump_output(self, stream, queue):
        with open(os.path.join(STACK_DIR, "logs", f"{self.func_name}.log"), "ab", buffering=0) as copy:
            class Tee:
                def readline(self):
                    line = stream.readline()
                    copy.write(line)
                    return line

                def close(self):
                    stream.close()
            pump(self, Tee(), queue)

    def to_lambda(arn, payload):
        event = json.loads(payload)
        record, config, name = lambda_svc._get_func_record_for_ref(arn)
        if not record or not config:
            log.warning("rule target %s does not exist", name)
            return
        invoke_async(lambda_svc._execution_record_for_config(record, config), event)
    def invoke_target(target, event, rule, view=None):
        arn, queue = target.get("Arn", ""), (target.get("DeadLetterConfig") or {}).get("Arn")
        if queue and ":lambda:" in arn and not lambda_svc._get_func_record_for_ref(arn)[0]:
            view = view or eventbridge._pattern_event_view(event)
            eventbridge._dispatch_to_sqs(eventbridge.parse_arn(queue), json.dumps(view.event_with_detail()))
            return
        original_invoke_target(target, event, rule, view)
    original_invoke_target, eventbridge._invoke_target = eventbridge._invoke_target, invoke_target
    lambda_svc._provided_worker_env = worker_environment
    lambda_runtime.execution_credentials = execution_credentials
    lambda_svc.execution_credentials = execution_credentials
    lambda_runtime.ProvidedWorker._pump_output = pump_output
    lambda_svc.invoke_async_with_retry = invoke_async
    eventbridge._dispatch_to_lambda = to_lambda


def invoke_async(record, event):
    """Lambda's asynchronous queue: throttles wait without counting, errors are retried twice, then the failure queue.

    The emulator counts a throttle as a failed attempt, and delivers rule targets once without retry or queue.
    """
    def run():
        config = record.get("config") or record
        settings = record.get("event_invoke_config") or (record.get("event_invoke_configs") or {}).get("$LATEST") or {}
        retries = settings.get("MaximumRetryAttempts")
        left, started, wait = 2 if retries is None else int(retries), time.time(), 0.1
        oldest = int(settings.get("MaximumEventAgeInSeconds") or 21600)
        while True:
            result = lambda_svc._execute_function_with_config_scope(record, event)
            if not result.get("error"):
                return
            if time.time() - started > oldest or (not result.get("throttle") and left == 0):
                break
            if result.get("throttle"):
                wait = min(wait * 2, 2)
            else:
                left, wait = left - 1, 1
            time.sleep(wait)
        target = ((settings.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination") \
            or (config.get("DeadLetterConfig") or {}).get("TargetArn")
        if target:
            lambda_svc._route_async_failure(target, config.get("FunctionName", ""), event, result)
    after(0, run)


def complete_function(function, props):
    """What CloudFormation's function handler loses: reserved concurrency and the failure queue."""
    record = lambda_svc._functions.get(function)
    if record is not None:
        reserved = props.get("ReservedConcurrentExecutions")
        record["concurrency"] = None if reserved is None else int(reserved)
        if props.get("DeadLetterConfig"):
            record["config"]["DeadLetterConfig"] = props["DeadLetterConfig"]


_original_tick = _install_events()
_install_lambda()
