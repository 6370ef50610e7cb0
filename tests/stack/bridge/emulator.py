"""The one file that knows the insides of ministack (pinned; see requirements.in).

Everything else in the bridge goes through the names defined here, so that an upgrade of the emulator is a change of this
file, and tests/stack/tests/emulator_contract.rs says what broke.
"""
import contextlib
import json
import os
import re
import threading
import time

from context import ACCOUNT, KNOBS, STACK_DIR, after, log, now_ms

import ministack.app as app_module
from ministack.core import iam_actions, lambda_runtime
from ministack.core.responses import error_response_json, json_response, new_uuid, now_iso
from ministack.core.router import extract_access_key_id
from ministack.services import autoscaling, ec2, eventbridge, iam, lambda_svc, s3, scheduler, ssm, sts
from ministack.services.cloudformation import provisioners

asg_xml, asg_error, asg_param, asg_members = autoscaling._xml, autoscaling._error, autoscaling._p, autoscaling._parse_member_list
ec2_xml, ec2_error, ec2_param, ec2_members = ec2._xml, ec2._error, ec2._p, ec2._parse_member_list
groups, hooks, group_tags = autoscaling._asgs, autoscaling._hooks, autoscaling._tags
instances, interfaces, security_groups, ec2_tags = ec2._instances, ec2._network_interfaces, ec2._security_groups, ec2._tags
xml_members = autoscaling._member_xml
json_ok, json_error = json_response, error_response_json
new_id, iso_now = new_uuid, now_iso


def epoch():
    return round(time.time(), 3)


def iso_of(at_ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms / 1000)) + f".{at_ms % 1000:03d}Z"


EXECUTABLE_LOCK = lambda_svc._provided_code_lock    # no fork may overlap the writing of a bootstrap (ETXTBSY)
AUTH = app_module.AUTH


def asg_actions(actions):
    autoscaling._ACTION_MAP.update(actions)


def asg_originals():
    return dict(autoscaling._ACTION_MAP)


def group_reconciler(fn):
    """fn(group) replaces the emulator's own resizing of a group."""
    autoscaling._reconcile_instances = fn


def ec2_actions(actions):
    ec2._ACTION_MAP.update(actions)


def original_ec2_action(name):
    return ec2._ACTION_MAP[name]


def json_actions(service_actions):
    """service_actions: SSM action name -> fn(data, access_key) -> response."""
    original = ssm.handle_request

    async def handle(method, path, headers, body, query):
        action = headers.get("x-amz-target", "").split(".")[-1]
        fn = service_actions.get(action)
        if fn is None:
            return await original(method, path, headers, body, query)
        try:
            data = json.loads(body) if body else {}
        except json.JSONDecodeError:
            return error_response_json("SerializationException", "Invalid JSON", 400)
        return fn(data, extract_access_key_id(headers, query))
    ssm.handle_request = handle


def principal_of(access_key):
    """Who an access key stands for: `fn:<function>`, an instance id, or the key itself."""
    session = sts._sessions.get(access_key)
    return session["Arn"].rsplit("/", 1)[-1] if session and session.get("Arn") else access_key


def register_session(access_key, secret, token, role_arn, name):
    """A role session whose calls AUTH mode accepts and judges by the role's policies."""
    role = role_arn.rsplit("/", 1)[-1]
    sts.register_session(access_key, {
        "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}", "RoleArn": role_arn, "SecretAccessKey": secret,
        "SessionToken": token, "AccountId": ACCOUNT, "Expiration": time.time() + 86400 * 30,
    })


def role_of_profile(profile_arn):
    """The role ARN behind an instance profile."""
    name = profile_arn.rsplit("/", 1)[-1]
    profile = iam._instance_profiles.get(name) or {}
    roles = profile.get("Roles") or []
    role = roles[0] if roles else name
    role = role.get("RoleName") if isinstance(role, dict) else role
    return f"arn:aws:iam::{ACCOUNT}:role/{role}"


# --- EC2 ---------------------------------------------------------------------------------------------------------

def on_launch(fn):
    """fn(record, user_given_ip) is called for every instance just created, before anybody sees it."""
    original = ec2._launch_instances_internal

    def launch(*args, **kwargs):
        created = original(*args, **kwargs)
        for record in created:
            fn(record, kwargs.get("requested_private_ip"))
        return created
    ec2._launch_instances_internal = launch


def launch_instance(data, subnet, tags):
    """One instance from launch template data (CloudFormation's or the API's spelling of it)."""
    ec2._ensure_defaults_initialized()
    nics = data.get("NetworkInterfaces") or []
    sg_ids = list(data.get("SecurityGroupIds") or (nics[0].get("Groups") if nics else None) or [])
    profile = data.get("IamInstanceProfile") or {}
    resolved = None
    if profile.get("Arn") or profile.get("Name"):
        resolved, _ = ec2._resolve_iam_instance_profile(
            iam_arn=profile.get("Arn", ""), iam_name=profile.get("Name", ""), allow_missing=True)
    record = ec2._launch_instances_internal(
        data.get("ImageId") or "ami-00000000", data.get("InstanceType") or "m5.large", subnet, 1,
        user_data=data.get("UserData") or "", sg_ids=sg_ids or None, iam_profile=resolved)[0]
    for spec in data.get("TagSpecifications") or []:
        if spec.get("ResourceType") == "instance":
            tags = {**{t["Key"]: t["Value"] for t in spec.get("Tags") or []}, **tags}
    ec2_tags[record["InstanceId"]] = [{"Key": k, "Value": v} for k, v in tags.items()]
    return record


def launch_template_data(spec):
    """(data, error text) of a group's launch template specification."""
    data, _, error = ec2._resolve_launch_template_data({
        "LaunchTemplateId": spec.get("LaunchTemplateId"), "LaunchTemplateName": spec.get("LaunchTemplateName"),
        "Version": str(spec.get("Version") or "$Default")})
    return (None, error[2].decode()) if error else (data, None)


def instance_xml_adds(fn):
    """fn(record) -> XML to be added to each instance of DescribeInstances."""
    original = ec2._instance_xml

    def render(record):
        return original(record).rstrip()[: -len("</item>")] + fn(record) + "</item>"
    ec2._instance_xml = render


def interface_xml(fn):
    ec2._eni_fields_xml = fn


def ec2_tag_specs(params, resource_kind, resource_id):
    ec2._parse_tag_specs(params, resource_kind, resource_id)


def new_volume(size, kind, encrypted):
    volume = ec2._new_volume_id()
    ec2._volumes[volume] = {
        "VolumeId": volume, "Size": size, "AvailabilityZone": "us-east-1a", "State": "available", "VolumeType": kind,
        "SnapshotId": "", "Iops": 3000, "Encrypted": encrypted, "CreateTime": now_iso(), "Attachments": [],
        "MultiAttachEnabled": False, "Throughput": 125}
    return volume


def delete_volume(volume):
    ec2._volumes.pop(volume, None)


def default_subnet():
    return ec2._DEFAULT_SUBNET_ID


def subnet(subnet_id):
    ec2._ensure_defaults_initialized()
    return ec2._subnets.get(subnet_id) or {}


def security_group_permissions(rules):
    return provisioners._ec2_sg_permissions(rules)


# --- CloudFormation ----------------------------------------------------------------------------------------------

def resource_type(name, create, delete, update=None, replacing=()):
    """Serve a CloudFormation type. create(logical_id, props, stack) and update(...) -> (physical id, attributes)."""
    handler = {"create": create, "delete": delete}
    if update:
        handler["update"] = update
    provisioners._RESOURCE_HANDLERS[name] = handler
    provisioners._REPLACING_PROPERTIES[name] = tuple(replacing)


def extend_resource_type(name, after_write):
    """after_write(physical_id, props) runs after the emulator's own create and update of a type that it has."""
    handler = provisioners._RESOURCE_HANDLERS[name]
    for step in ("create", "update"):
        original = handler.get(step)
        if original is None:
            continue

        def wrapped(*args, _original=original, _props=1 if step == "create" else 2, **kwargs):
            result = _original(*args, **kwargs)
            after_write(result[0], args[_props])
            return result
        handler[step] = wrapped


def replace_delete(name, delete):
    provisioners._RESOURCE_HANDLERS[name]["delete"] = delete


def physical_name(stack, logical_id):
    return provisioners._physical_name(stack, logical_id)


# --- EventBridge and schedules -----------------------------------------------------------------------------------

_suppressed = threading.local()
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
        _suppressed.version = kwargs.get("version_id")
        try:
            for _ in range(KNOBS["event_copies"]):
                counts["s3_events"] += 1
                fire(*args, **kwargs)
        finally:
            _suppressed.version = None

    def dispatch_event(event, view=None):
        version = getattr(_suppressed, "version", None)
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
        given = credentials(config)
        if not AUTH:  # the access key names the caller in the access log
            given = {"AWS_ACCESS_KEY_ID": f"fn:{config.get('FunctionName')}", "AWS_SECRET_ACCESS_KEY": "local",
                     "AWS_SESSION_TOKEN": "local"}
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
    if hasattr(lambda_svc, "execution_credentials"):
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


# --- S3 ----------------------------------------------------------------------------------------------------------

def _install_policy_context():
    """The condition keys of conditional writes, which the emulator leaves out of its policy context."""
    original = iam_actions.s3_service_context

    def context(iam_action, query_params, path="", headers=None):
        given = dict(original(iam_action, query_params, path, headers) or {})
        headers = headers or {}
        if iam_action in ("s3:PutObject", "s3:DeleteObject"):
            for name in ("if-match", "if-none-match"):
                if headers.get(name):
                    given[f"s3:{name}"] = headers[name]
        if iam_action == "s3:PutObject":
            part = any(k in (query_params or {}) for k in ("partNumber", "uploads"))
            given["s3:ObjectCreationOperation"] = "false" if part else "true"
        return given
    iam_actions.s3_service_context = context


def _install_copy_checksums():
    """CopyObject with x-amz-checksum-algorithm: compute it, keep it, and answer it, as S3 does."""
    original = s3._copy_object

    def copy_object(bucket, key, headers):
        algorithm = headers.get("x-amz-checksum-algorithm")
        if not algorithm:
            return original(bucket, key, headers)
        status, answered, body = original(bucket, key, {**headers, "x-amz-sdk-checksum-algorithm": algorithm})
        value = (s3._buckets[bucket]["objects"][key].get("checksums") or {}).get(algorithm.upper()) if status == 200 else None
        if value:
            extra = f"<Checksum{algorithm.upper()}>{value}</Checksum{algorithm.upper()}><ChecksumType>FULL_OBJECT</ChecksumType>"
            body = body.replace(b"</CopyObjectResult>", extra.encode() + b"</CopyObjectResult>")
            answered = {k: v for k, v in answered.items() if k.lower() != "content-length"}
        return status, answered, body
    s3._copy_object = copy_object


def tamper(bucket, key, offset):
    """Flip one bit of a stored object in place: size, ETag and version stay as they were."""
    stored = s3._buckets[bucket]["objects"][key]
    body = bytearray(stored["body"])
    offset = offset if offset >= 0 else len(body) + offset
    body[offset] ^= 1
    stored["body"] = bytes(body)
    for version in s3._object_versions.get((bucket, key)) or []:
        if version["version_id"] == stored.get("version_id"):
            version["data"] = stored["body"]
    return len(body)


# --- the gateway -------------------------------------------------------------------------------------------------

def serve(sock, wrap):
    """Serve the emulator on an open socket; wrap(app) -> the app that is served."""
    import asyncio
    import signal
    import sys

    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    config = Config()
    config.bind = [f"fd://{sock.fileno()}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    asyncio.run(hypercorn_serve(wrap(app_module.app), config))


_original_tick = _install_events()
_install_lambda()
_install_policy_context()
_install_copy_checksums()
S3_SCOPE = re.compile(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/")
__all__ = [name for name in dir() if not name.startswith("__")] + ["now_ms"]
