"""Calls of the emulator's own API over the wire, as somebody: what Automation steps and the control port use."""
import datetime
import os
import threading

import botocore.session
from botocore import xform_name
from botocore.config import Config

import emulator as emu
import emulator_s3
from context import REGION

_clients, _lock = {}, threading.Lock()


def as_role(role_arn, name, session):
    """Credentials that act as the role (judged by its policies in AUTH mode; elsewhere they only name the caller)."""
    if not emu.AUTH or not role_arn:
        return name, "local", "local"
    key = "ASIA" + session.replace("-", "").upper()[:16]
    emulator_s3.register_session(key, "local", "local", role_arn, name)
    return key, "local", "local"


def client(service, credentials):
    key = (service, credentials)
    with _lock:
        if key not in _clients:
            access, secret, token = credentials
            _clients[key] = botocore.session.get_session().create_client(
                service, region_name=REGION, endpoint_url=os.environ["AWS_ENDPOINT_URL"], aws_access_key_id=access,
                aws_secret_access_key=secret, aws_session_token=token,
                config=Config(retries={"total_max_attempts": 1}, read_timeout=900, max_pool_connections=64))
        return _clients[key]


def call(service, api, request, credentials):
    """One call; the answer as plain JSON values. botocore's errors pass through with AWS's own code in them."""
    target = client(service, credentials)
    method = api if hasattr(target, api) else xform_name(api)
    return plain(getattr(target, method)(**request))


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k != "ResponseMetadata"}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "read"):
        return value.read().decode("utf-8", "replace")
    return value
