"""S3 and IAM as ministack has them: the checksums, condition keys and resources that they leave out, and who is who.

With emulator.py and emulator_events.py the only files that know the emulator's insides.
"""
import contextvars
import json
import re
import time

from ministack.core import iam_actions, iam_evaluator
from ministack.services import autoscaling, ec2, iam, s3, sts

from context import ACCOUNT, REGION

NAMES = {}      # access key -> the name that the access log gives it


def principal_of(access_key):
    """Who an access key stands for: `fn:<function>`, an instance id, or the key itself."""
    return NAMES.get(access_key, access_key)


def register_session(access_key, secret, token, role_arn, name):
    """A session of a role, or of the account's root without one, that AUTH mode accepts and judges by its policies."""
    NAMES[access_key] = name
    role = (role_arn or "").rsplit("/", 1)[-1]
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name.replace(':', '-')}" if role else f"arn:aws:iam::{ACCOUNT}:root"
    sts.register_session(access_key, {
        "Arn": arn, "UserId": f"{role or ACCOUNT}:{name}", "SecretAccessKey": secret, "SessionToken": token,
        "AccountId": ACCOUNT, "Expiration": time.time() + 86400 * 30})


def role_of_profile(profile_arn):
    """The role ARN behind an instance profile."""
    name = profile_arn.rsplit("/", 1)[-1]
    profile = iam._instance_profiles.get(name) or {}
    roles = profile.get("Roles") or []
    role = roles[0] if roles else name
    role = role.get("RoleName") if isinstance(role, dict) else role
    return f"arn:aws:iam::{ACCOUNT}:role/{role}"


def _install_condition_keys():
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
    resolve = iam_evaluator._resolve_condition_key

    def resolve_key(key, ctx):
        # For a role's session AWS compares the role, and the emulator the session.
        match = re.fullmatch(r"arn:aws:sts::(\d+):assumed-role/([^/]+)/.*", ctx.principal_arn or "")
        if key.lower() == "aws:principalarn" and match:
            return f"arn:aws:iam::{match.group(1)}:role/{match.group(2)}"
        return resolve(key, ctx)
    iam_actions.s3_service_context, iam_evaluator._resolve_condition_key = context, resolve_key


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


def _install_versioned_ranges():
    """A range of a version: the emulator gives the whole object, S3 gives the range."""
    original = s3._get_object

    def get_object(bucket_name, key, headers, query_params=None):
        status, answered, body = original(bucket_name, key, headers, query_params)
        wanted = headers.get("range")
        if status != 200 or not wanted or not s3._qp(query_params or {}, "versionId", ""):
            return status, answered, body
        span = s3._parse_range(wanted, len(body))
        if span is None:
            return s3._error("InvalidRange", "The requested range is not satisfiable", 416)
        first, last = span
        # As for any range: a checksum of the whole object would not fit the bytes.
        kept = {k: v for k, v in answered.items() if not k.lower().startswith("x-amz-checksum-") and k.lower() != "content-length"}
        part = body[first:last + 1]
        return 206, {**kept, "Content-Length": str(len(part)), "Content-Range": f"bytes {first}-{last}/{len(body)}"}, part
    s3._get_object = get_object


def _install_key_limit():
    """A key has at most 1,024 bytes; the emulator takes any."""
    original = s3._put_object

    def put_object(bucket_name, key, *args, **kwargs):
        if len(key.encode()) > 1024:
            return s3._error("KeyTooLongError", "Your key is too long", 400)
        return original(bucket_name, key, *args, **kwargs)
    s3._put_object = put_object


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


def named_resources(service, headers, body, params):
    """Every resource that a request of ours needs rights on, where the emulator names none or only one."""
    arn = f"arn:aws:{{}}:{REGION}:{ACCOUNT}:{{}}".format
    if service == "ssm":
        action = headers.get("x-amz-target", "").split(".")[-1]
        try:
            data = json.loads(body or b"{}")
        except ValueError:
            return []
        name = str(data.get("DocumentName") or data.get("Name") or "").rsplit("/", 1)[-1]
        if action == "GetParameters":
            return [arn("ssm", "parameter/" + n.lstrip("/")) for n in data.get("Names") or []]
        if action == "SendCommand":
            return [arn("ssm", f"document/{name}"), *(arn("ec2", f"instance/{i}") for i in data.get("InstanceIds") or [])]
        if action == "StartAutomationExecution":
            return [arn("ssm", f"automation-definition/{name}:{data.get('DocumentVersion') or '$DEFAULT'}")]
        if action in ("GetAutomationExecution", "StopAutomationExecution"):
            return [arn("ssm", f"automation-execution/{data.get('AutomationExecutionId')}")]
        if action.endswith("Document"):
            return [arn("ssm", f"document/{name}")]
    def one(key):
        value = params.get(key)
        return value[0] if isinstance(value, list) and value else value
    if service == "autoscaling" and one("InstanceId") and not one("AutoScalingGroupName"):
        for name, group in autoscaling._asgs.items():
            if any(m["InstanceId"] == one("InstanceId") for m in group["Instances"]):
                return [arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{name}")]
    if service == "ec2":
        action, interface, instance = one("Action"), one("NetworkInterfaceId"), one("InstanceId")
        attached = one("AttachmentId") or one("Attachment.AttachmentId")
        record = next((r for r in ec2._network_interfaces.values() if r["NetworkInterfaceId"] == interface
                       or (r.get("Attachment") or {}).get("AttachmentId") == attached), None)
        if action in ("AttachNetworkInterface", "DetachNetworkInterface", "ModifyNetworkInterfaceAttribute") and record:
            instance = instance or ((record.get("Attachment") or {}).get("InstanceId") if attached else None)
            groups = [v for k in sorted(params) if k.startswith("SecurityGroupId.") for v in [one(k)]]
            return [arn("ec2", f"network-interface/{record['NetworkInterfaceId']}"),
                    *([arn("ec2", f"instance/{instance}")] if instance else []),
                    *(arn("ec2", f"security-group/{g}") for g in groups)]
    return []


_more = contextvars.ContextVar("more_resources", default=())


def _install_resources():
    """Rights are checked on every resource of a request, with the tags of EC2's resources as condition keys."""
    extract, enforce = iam_actions.extract_resource_arn, iam_evaluator.enforce

    def extract_resource_arn(service, method, path, headers, body, params, region, account):
        found = named_resources(service, headers, body, params)
        _more.set(tuple(found[1:]))
        return found[0] if found else extract(service, method, path, headers, body, params, region, account)

    def enforce_all(access_key, action, service, region, resource_arn="*", service_context=None):
        others = _more.get()
        _more.set(())
        for resource in (resource_arn, *others):
            context = dict(service_context or {})
            for tag in ec2._tags.get(resource.rsplit("/", 1)[-1]) or [] if ":ec2:" in resource else []:
                for prefix in ("aws:ResourceTag", "ec2:ResourceTag", "ssm:resourceTag"):
                    context[f"{prefix}/{tag['Key']}"] = tag["Value"]
            refused = enforce(access_key, action, service, region, resource_arn=resource, service_context=context)
            if refused:
                return refused
        return None
    iam_actions.extract_resource_arn, iam_evaluator.enforce = extract_resource_arn, enforce_all


_install_condition_keys()
_install_copy_checksums()
_install_versioned_ranges()
_install_key_limit()
_install_resources()
