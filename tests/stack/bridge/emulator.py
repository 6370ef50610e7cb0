"""What the bridge knows of the insides of ministack (pinned; see requirements.in), with emulator_events.py and emulator_s3.py.

Everything else in the bridge goes through the names defined here, so that an upgrade of the emulator is a change of these three
files, and tests/stack/tests says what broke.
"""
import contextlib
import json
import re
import time

import ministack.app as app_module
from ministack.core.responses import error_response_json, json_response, new_uuid, now_iso
from ministack.core.router import extract_access_key_id
from ministack.services import autoscaling, ec2, lambda_svc, ssm
from ministack.services.cloudformation import provisioners

from context import ACCOUNT as ACCOUNT

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


S3_SCOPE = re.compile(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/")
