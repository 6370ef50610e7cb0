"""SSM documents: stored, versioned, and their parameters judged as Systems Manager judges them.

Nothing here is keyed on a document's name: what runs is the document's own content.
"""
import hashlib
import json
import re

import yaml

import emulator as emu
from context import ACCOUNT, LOCK

DOCUMENTS = {}        # name -> {type, versions: [content, ...], default: n, created}
REFERENCE = re.compile(r"\{\{\s*([A-Za-z0-9_.:\-]+)\s*\}\}")
SIZE_MAX = 64 * 1024
RESERVED = re.compile(r"^(aws|amazon|amzn|AWSEC2|AWSConfigRemediation|AWSSupport)", re.IGNORECASE)


class Refused(Exception):
    """(code, message) of the SSM API."""


def parsed(content):
    if not isinstance(content, str):
        return content
    try:
        return json.loads(content)
    except json.JSONDecodeError:
        pass
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise Refused("InvalidDocumentContent", f"JSON not well-formed. {error}") from error


def checked(content, kind):
    content = parsed(content)
    if not isinstance(content, dict) or "schemaVersion" not in content or not content.get("mainSteps"):
        raise Refused("InvalidDocumentContent", "The content has no schemaVersion or no mainSteps.")
    size = len(json.dumps(content))
    if size > SIZE_MAX:
        raise Refused("MaxDocumentSizeExceeded", f"The document has {size} bytes; the limit is {SIZE_MAX}.")
    wanted = {"Command": ("2.2",), "Automation": ("0.3",)}.get(kind, ())
    if wanted and str(content["schemaVersion"]) not in wanted:
        raise Refused("InvalidDocumentSchemaVersion", f"{kind} documents have schema {wanted}, not {content['schemaVersion']}.")
    names = [s.get("name") for s in content["mainSteps"]]
    if len(set(names)) != len(names) or not all(names):
        raise Refused("InvalidDocumentContent", "Every step needs a name of its own.")
    for name, spec in (content.get("parameters") or {}).items():
        if not re.fullmatch(r"[A-Za-z0-9_]+", name) or "type" not in spec:
            raise Refused("InvalidDocumentContent", f"Parameter {name} is malformed.")
    return content


def write(name, kind, content, replace=False):
    """Create a document, or add a version to it (which becomes the default)."""
    if RESERVED.match(name):
        raise Refused("ValidationException", f"Document name {name} uses a reserved prefix.")
    content = checked(content, kind)
    with LOCK:
        document = DOCUMENTS.get(name)
        if document is None or replace:
            DOCUMENTS[name] = document = {"type": kind, "versions": [], "created": emu.epoch()}
        document["versions"].append(content)
        document["default"] = len(document["versions"])
    return document


def find(name, version, code):
    """(content, version number, type) or Refused(code)."""
    name = name.rsplit("/", 1)[-1] if name.startswith("arn:") else name
    document = DOCUMENTS.get(name)
    if document is None:
        raise Refused(code, f"Document with name {name} does not exist.")
    number = {"": document["default"], "$DEFAULT": document["default"], "$LATEST": len(document["versions"])}.get(version or "")
    number = int(version) if number is None else number
    if not 1 <= number <= len(document["versions"]):
        raise Refused("InvalidDocumentVersion", f"Version {version} of {name} does not exist.")
    return document["versions"][number - 1], number, document["type"]


def parameters(content, given, code):
    """The values a run has, defaults filled in, as {name: value}; Refused(code) where AWS refuses them.

    A value is a string, or a list for StringList; Integer and Boolean of Automation documents keep their type.
    """
    specs = content.get("parameters") or {}
    unknown = [n for n in given if n not in specs]
    if unknown:
        raise Refused(code, f"Parameter names {unknown} are not defined in the document.")
    values = {}
    for name, spec in specs.items():
        if name in given:
            value = given[name] if isinstance(given[name], list) else [given[name]]
        elif "default" in spec:
            values[name] = spec["default"]
            continue
        else:
            raise Refused(code, f"Parameter {name} is required and was not given.")
        value = [str(v) for v in value]
        for one in value:
            pattern, allowed = spec.get("allowedPattern"), spec.get("allowedValues")
            if pattern and not re.search(pattern, one):
                raise Refused(code, f"Parameter {name} does not match its allowedPattern {pattern}.")
            if allowed and one not in [str(a) for a in allowed]:
                raise Refused(code, f"Parameter {name} is not one of {allowed}.")
            if not int(spec.get("minChars", 0)) <= len(one) <= int(spec.get("maxChars", 1 << 20)):
                raise Refused(code, f"Parameter {name} has {len(one)} characters.")
        values[name] = typed(name, spec["type"], value, code)
    return values


def typed(name, kind, value, code):
    if kind == "StringList" or kind.startswith("List<"):
        return value
    if len(value) != 1:
        raise Refused(code, f"Parameter {name} of type {kind} takes one value, not {len(value)}.")
    if kind == "Integer":
        if not re.fullmatch(r"-?\d+", value[0]):
            raise Refused(code, f"Parameter {name} is not an Integer.")
        return int(value[0])
    if kind == "Boolean":
        if value[0].lower() not in ("true", "false"):
            raise Refused(code, f"Parameter {name} is not a Boolean.")
        return value[0].lower() == "true"
    return value[0]


def text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)


def interpolate(value, values, strict=False):
    """Put values in place of {{ name }} everywhere; a string that is one reference alone becomes the value itself."""
    if isinstance(value, dict):
        return {k: interpolate(v, values, strict) for k, v in value.items()}
    if isinstance(value, list):
        return [interpolate(v, values, strict) for v in value]
    if not isinstance(value, str):
        return value
    whole = REFERENCE.fullmatch(value.strip())
    if whole and whole.group(1) in values:
        return values[whole.group(1)]

    def put(match):
        if match.group(1) in values:
            return text(values[match.group(1)])
        if strict:
            raise KeyError(match.group(1))
        return match.group(0)
    return REFERENCE.sub(put, value)


# --- the API -----------------------------------------------------------------------------------------------------

def description(name):
    document = DOCUMENTS[name]
    content = document["versions"][document["default"] - 1]
    return {
        "Name": name, "Owner": ACCOUNT, "CreatedDate": document["created"], "Status": "Active", "DocumentFormat": "JSON",
        "DocumentVersion": str(document["default"]), "DefaultVersion": str(document["default"]),
        "LatestVersion": str(len(document["versions"])), "Description": content.get("description", ""),
        "DocumentType": document["type"], "SchemaVersion": str(content["schemaVersion"]), "PlatformTypes": ["Linux"],
        "Hash": hashlib.sha256(json.dumps(content).encode()).hexdigest(), "HashType": "Sha256",
        "Parameters": [{"Name": n, "Type": s["type"], "Description": s.get("description", ""),
                        **({"DefaultValue": text(s["default"])} if "default" in s else {})}
                       for n, s in (content.get("parameters") or {}).items()],
    }


def guarded(fn):
    def call(data, access_key):
        try:
            return emu.json_ok(fn(data, access_key))
        except Refused as refused:
            return emu.json_error(refused.args[0], refused.args[1], 400)
    return call


def create(data, access_key):
    if data["Name"] in DOCUMENTS:
        raise Refused("DocumentAlreadyExists", f"Document {data['Name']} already exists.")
    write(data["Name"], data.get("DocumentType", "Command"), data.get("Content"))
    return {"DocumentDescription": description(data["Name"])}


def update(data, access_key):
    find(data["Name"], "", "InvalidDocument")
    document = DOCUMENTS[data["Name"]]
    content, default = checked(data["Content"], document["type"]), document["default"]
    if content == document["versions"][-1]:
        raise Refused("DuplicateDocumentContent", "The content of the association document matches another document.")
    write(data["Name"], document["type"], content)
    document["default"] = default  # an update through the API leaves the default version alone
    return {"DocumentDescription": {**description(data["Name"]), "DocumentVersion": str(len(document["versions"]))}}


def set_default(data, access_key):
    find(data["Name"], data["DocumentVersion"], "InvalidDocument")
    DOCUMENTS[data["Name"]]["default"] = int(data["DocumentVersion"])
    return {"Description": {"Name": data["Name"], "DefaultVersion": data["DocumentVersion"]}}


def get(data, access_key):
    content, number, kind = find(data["Name"], data.get("DocumentVersion"), "InvalidDocument")
    return {"Name": data["Name"], "DocumentVersion": str(number), "Status": "Active", "Content": json.dumps(content),
            "DocumentType": kind, "DocumentFormat": "JSON"}


def describe(data, access_key):
    find(data["Name"], data.get("DocumentVersion"), "InvalidDocument")
    return {"Document": description(data["Name"].rsplit("/", 1)[-1])}


def list_documents(data, access_key):
    told = ("Name", "CreatedDate", "Owner", "PlatformTypes", "DocumentVersion", "DocumentType", "SchemaVersion", "DocumentFormat")
    return {"DocumentIdentifiers": [{k: v for k, v in description(n).items() if k in told} for n in sorted(DOCUMENTS)]}


def delete(data, access_key):
    find(data["Name"], "", "InvalidDocument")
    DOCUMENTS.pop(data["Name"])
    return {}


def template_document(logical_id, props, stack):
    name = props.get("Name") or emu.physical_name(stack, logical_id)
    try:
        if name in DOCUMENTS:
            raise Refused("DocumentAlreadyExists", f"Document {name} already exists.")
        write(name, props.get("DocumentType", "Command"), props.get("Content"))
    except Refused as refused:
        raise ValueError(f"{refused.args[1]} ({refused.args[0]})") from refused
    return name, {}


def template_update(physical_id, old, new, stack):
    try:
        if new.get("Content") != old.get("Content"):
            write(physical_id, new.get("DocumentType", "Command"), new.get("Content"),
                  replace=new.get("UpdateMethod", "Replace") != "NewVersion")
    except Refused as refused:
        raise ValueError(f"{refused.args[1]} ({refused.args[0]})") from refused
    return physical_id, {}


def actions():
    return {name: guarded(fn) for name, fn in {
        "CreateDocument": create, "UpdateDocument": update, "GetDocument": get, "DescribeDocument": describe,
        "DeleteDocument": delete, "ListDocuments": list_documents, "UpdateDocumentDefaultVersion": set_default}.items()}


def install():
    emu.resource_type("AWS::SSM::Document", template_document, lambda name, props: DOCUMENTS.pop(name, None),
                      template_update, ("Name", "DocumentType"))
