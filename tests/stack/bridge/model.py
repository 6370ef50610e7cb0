"""Every answer of the bridge's own APIs is held to botocore's model of the service, strictly: no member that the model does not
know, none missing that it requires, enumerations, types, lengths and dates as it has them, and no error code of another operation.

botocore's own parser is lenient (it leaves out what it does not know), so the raw answers are walked here beside the shapes.
"""
import json
import re
import threading
import xml.etree.ElementTree as ElementTree
from urllib.parse import parse_qs

import botocore.session
from botocore.utils import parse_timestamp

from accesslog import header

SCOPE = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/")
# Codes that AWS documents for every action of a service (Common Errors), which models do not repeat.
COMMON = {"ValidationError", "ValidationException", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation",
          "Throttling", "ThrottlingException", "InvalidParameterValue"}
WATCHED = {}          # service -> names of the operations that the bridge serves
_models, _lock = {}, threading.Lock()
_checked, _violations = {}, []


def watch(service, names):
    WATCHED.setdefault(service, set()).update(names)


def model(service):
    with _lock:
        if service not in _models:
            _models[service] = botocore.session.get_session().get_service_model(service)
        return _models[service]


def report():
    with _lock:
        return {"checked": dict(_checked), "violations": list(_violations)}


class Walk:
    """One answer beside its shape; what does not fit is in `found`."""

    def __init__(self):
        self.found = []

    def say(self, path, what):
        self.found.append(f"{path}: {what}")

    def scalar(self, shape, text, path):
        """Bounds and enumerations of a value that is text or a number."""
        kind, rules = shape.type_name, shape.metadata
        if kind == "string":
            if shape.enum and text not in shape.enum:
                self.say(path, f"{text!r} is none of {shape.enum}")
            if "min" in rules and len(text) < rules["min"] or "max" in rules and len(text) > rules["max"]:
                self.say(path, f"has {len(text)} characters, not {rules.get('min', 0)} to {rules.get('max', 'any')}")
        elif kind in ("integer", "long", "float", "double"):
            if "min" in rules and text < rules["min"] or "max" in rules and text > rules["max"]:
                self.say(path, f"{text} is not {rules.get('min')} to {rules.get('max')}")

    # --- JSON ---

    def json(self, shape, value, path):
        kind = shape.type_name
        wanted = {"structure": dict, "map": dict, "list": list, "string": str, "boolean": bool, "integer": int, "long": int,
                  "timestamp": (int, float), "float": (int, float), "double": (int, float)}[kind]
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            self.say(path, f"{value!r} is no {kind}")
        elif kind == "structure":
            for name in set(value) - set(shape.members):
                self.say(path, f"has {name}, which the model does not know")
            for name in set(shape.required_members) - set(value):
                self.say(path, f"lacks {name}")
            for name in set(value) & set(shape.members):
                self.json(shape.members[name], value[name], f"{path}.{name}")
        elif kind == "list":
            for n, item in enumerate(value):
                self.json(shape.member, item, f"{path}[{n}]")
        elif kind == "map":
            for key, item in value.items():
                self.json(shape.value, item, f"{path}.{key}")
        else:
            self.scalar(shape, value, path)

    # --- XML ---

    def xml(self, shape, node, path):
        kind, text = shape.type_name, node.text or ""
        if kind == "structure":
            self.members(shape, node, path)
        elif kind == "list":
            wanted = shape.member.serialization.get("name", "member")
            for n, item in enumerate(node):
                if tag(item) != wanted:
                    self.say(path, f"has {tag(item)}, not {wanted}")
                self.xml(shape.member, item, f"{path}[{n}]")
        elif kind == "boolean":
            if text not in ("true", "false"):
                self.say(path, f"{text!r} is no boolean")
        elif kind == "timestamp":
            try:
                parse_timestamp(text)
            except ValueError:
                self.say(path, f"{text!r} is no date")
        elif kind in ("integer", "long"):
            if not re.fullmatch(r"-?\d+", text):
                self.say(path, f"{text!r} is no {kind}")
            else:
                self.scalar(shape, int(text), path)
        elif kind == "string":
            self.scalar(shape, text, path)
        else:
            self.say(path, f"a {kind} is not looked at yet")

    def members(self, shape, node, path, also=()):
        names = {member.serialization.get("name", name): name for name, member in shape.members.items()}
        seen = {}
        for child in node:
            if tag(child) not in names:
                if tag(child) not in also:
                    self.say(path, f"has {tag(child)}, which the model does not know")
                continue
            name = names[tag(child)]
            if name in seen and not shape.members[name].serialization.get("flattened"):
                self.say(path, f"has {tag(child)} twice")
            seen[name] = True
            self.xml(shape.members[name], child, f"{path}.{name}")
        for name in set(shape.required_members) - set(seen):
            self.say(path, f"lacks {name}")


def tag(node):
    return node.tag.rsplit("}", 1)[-1]


def check(service, name, status, body):
    """(what it is counted as, what did not fit)."""
    operation = model(service).operation_model(name)
    walk, path = Walk(), f"{service}.{name}"
    protocol = model(service).metadata["protocol"]
    if status >= 300:
        code = json.loads(body).get("__type", "").rsplit("#", 1)[-1] if protocol == "json" else \
            next((n.text for n in ElementTree.fromstring(body).iter() if tag(n) == "Code"), "")
        known = {s.metadata.get("error", {}).get("code", s.name) for s in operation.error_shapes} | \
            {s.name for s in operation.error_shapes}
        if service != "ec2" and code not in known | COMMON:  # EC2's model has no errors
            walk.say(path, f"{code} is no error of it: {sorted(known)}")
        if not code:
            walk.say(path, "an error without a code")
        return f"{path}!{code}", walk.found
    shape = operation.output_shape
    if protocol == "json":
        walk.json(shape, json.loads(body or "{}"), path) if shape else None
        return path, walk.found
    root = ElementTree.fromstring(body)
    if tag(root) != f"{name}Response":
        walk.say(path, f"is a {tag(root)}")
    wrapper = (shape.serialization if shape else {}).get("resultWrapper")
    if wrapper:
        node = next((n for n in root if tag(n) == wrapper), None)
        if node is None:
            walk.say(path, f"lacks {wrapper}")
        else:
            walk.members(shape, node, path)
    elif shape:
        walk.members(shape, root, path, also=("requestId", "ResponseMetadata", "return"))
    return path, walk.found


def operation_of(service, headers, body):
    if service == "ssm":
        return (header(headers, b"x-amz-target") or "").split(".")[-1]
    return (parse_qs(body.decode("utf-8", "replace")).get("Action") or [""])[0]


def note(service, name, status, body):
    try:
        counted, found = check(service, name, status, body)
    except Exception as error:  # an answer that cannot even be read
        counted, found = f"{service}.{name}", [f"{service}.{name}: {type(error).__name__}: {error}: {body[:200]!r}"]
    with _lock:
        _checked[counted] = _checked.get(counted, 0) + 1
        _violations.extend(f for f in found if f not in _violations)


def watched(app):
    """The ASGI app with the check behind it."""
    async def wrapped(scope, receive, send):
        match = SCOPE.search(header(scope["headers"], b"authorization") or "") if scope["type"] == "http" else None
        service = match.group(1) if match else ""
        if service not in WATCHED:
            await app(scope, receive, send)
            return
        asked, answered, status = bytearray(), bytearray(), [0]

        async def keeping_receive():
            message = await receive()
            asked.extend(message.get("body", b""))
            return message

        async def keeping_send(message):
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            elif message["type"] == "http.response.body":
                answered.extend(message.get("body", b""))
                name = operation_of(service, scope["headers"], bytes(asked))
                if not message.get("more_body") and name in WATCHED[service]:
                    note(service, name, status[0], bytes(answered))
            await send(message)
        await app(scope, keeping_receive, keeping_send)
    return wrapped
