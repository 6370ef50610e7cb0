"""Deploy a SAM template the way `sam deploy` does: package, change set, execute, wait, outputs.

The template is deployed as it is. Changed: each function's CodeUri (the archive's place in the artefact bucket). Nothing is
left out; a type the emulator cannot serve fails the deployment by name.
"""
import io
import json
import os
import time
import zipfile

import yaml
from botocore.exceptions import ClientError

import own_api
import sandbox
from context import log

DEPLOYER = ("deployer", "local", None)
ARTEFACTS = "lifeboat-artefacts"


class Loader(yaml.SafeLoader):
    """CloudFormation's short tags, kept as their long forms."""


def short_tag(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", short_tag)
# Dates stay text, as CloudFormation reads them (Version: 2012-10-17).
Loader.yaml_implicit_resolvers = {k: [(tag, regexp) for tag, regexp in v if tag != "tag:yaml.org,2002:timestamp"]
                                  for k, v in Loader.yaml_implicit_resolvers.items()}


def archive(binary):
    """A function's zip: the binary as `bootstrap`, stored (hashing and unpacking it is all the emulator does)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as out, open(binary, "rb") as f:
        info = zipfile.ZipInfo("bootstrap", (2026, 1, 1, 0, 0, 0))
        info.external_attr = 0o755 << 16
        out.writestr(info, f.read())
    return buffer.getvalue()


def packaged(template, binaries, s3):
    """The template with every function's code uploaded, and what was done."""
    done = []
    for logical_id, resource in (template.get("Resources") or {}).items():
        if resource.get("Type") != "AWS::Serverless::Function":
            continue
        metadata = resource.get("Metadata") or {}
        properties = (metadata.get("BuildProperties") or {})
        name = properties.get("Binary") or kebab(logical_id)
        if name not in binaries:
            raise ValueError(f"no binary for function {logical_id} (looked for {name!r} among {sorted(binaries)})")
        body = archive(binaries[name])
        key = f"code/{name}.zip"
        s3.put_object(Bucket=ARTEFACTS, Key=key, Body=body)
        resource["Properties"]["CodeUri"] = {"Bucket": ARTEFACTS, "Key": key}
        done.append({"function": logical_id, "binary": binaries[name], "bytes": len(body)})
    return done


def ambient():
    """Values of well-known parameters that only this stack can know; a caller's own value wins."""
    return {
        "FixedPrivateIp": sandbox.fixed_address(), "S3Endpoint": os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"),
        "S3UseSsl": "false", "VpcId": "vpc-00000001", "SubnetId": "subnet-00000001", "AmiId": "ami-0123456789abcdef0",
        "WeaviateImage": "local.invalid/weaviate@sha256:" + "0" * 64,
    }


def kebab(logical_id):
    name = logical_id.removesuffix("Function")
    return "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def run(request):
    """{template (path), stack, parameters, binaries {name: path}} -> {outputs, functions, seconds}."""
    begun = time.time()
    with open(request["template"]) as f:
        template = yaml.load(f, Loader)
    given = {k: v for k, v in ambient().items() if k in (template.get("Parameters") or {})}
    given.update(request.get("parameters") or {})
    s3, cloudformation = own_api.client("s3", DEPLOYER), own_api.client("cloudformation", DEPLOYER)
    try:
        s3.create_bucket(Bucket=ARTEFACTS)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise
    functions = packaged(template, request.get("binaries") or {}, s3)
    key = f"templates/{request['stack']}.json"
    s3.put_object(Bucket=ARTEFACTS, Key=key, Body=json.dumps(template).encode())
    exists = stack_of(cloudformation, request["stack"])
    change = f"lifeboat-{int(time.time() * 1000)}"
    cloudformation.create_change_set(
        StackName=request["stack"], ChangeSetName=change, ChangeSetType="UPDATE" if exists else "CREATE",
        TemplateURL=f"{os.environ['AWS_ENDPOINT_URL']}/{ARTEFACTS}/{key}",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": k, "ParameterValue": str(v)} for k, v in given.items()])
    wait_for(lambda: cloudformation.describe_change_set(StackName=request["stack"], ChangeSetName=change),
             lambda c: c["Status"], ("CREATE_COMPLETE",), 60, lambda c: c.get("StatusReason", ""))
    cloudformation.execute_change_set(StackName=request["stack"], ChangeSetName=change)
    done = wait_for(lambda: stack_of(cloudformation, request["stack"]), lambda s: s["StackStatus"],
                    ("CREATE_COMPLETE", "UPDATE_COMPLETE"), int(request.get("seconds", 180)),
                    lambda s: reasons(cloudformation, request["stack"]))
    log.info("stack %s deployed in %.1fs", request["stack"], time.time() - begun)
    return {"outputs": {o["OutputKey"]: o["OutputValue"] for o in done.get("Outputs", [])}, "functions": functions,
            "resources": [{"logical": r["LogicalResourceId"], "physical": r.get("PhysicalResourceId", ""),
                           "type": r["ResourceType"]}
                          for r in cloudformation.describe_stack_resources(StackName=request["stack"])["StackResources"]],
            "seconds": round(time.time() - begun, 2)}


def stack_of(cloudformation, name):
    try:
        found = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError:
        return None
    return None if found["StackStatus"] in ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE") else found


def reasons(cloudformation, stack):
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    return "; ".join(f"{e['LogicalResourceId']} ({e['ResourceType']}): {e['ResourceStatusReason']}" for e in reversed(events)
                     if e["ResourceStatus"].endswith("FAILED") and e.get("ResourceStatusReason"))


def wait_for(read, status, wanted, seconds, why):
    deadline = time.time() + seconds
    while True:
        seen = read()
        state = status(seen) if seen else "absent"
        if state in wanted:
            return seen
        if "FAILED" in state or "ROLLBACK" in state or time.time() > deadline:
            raise RuntimeError(f"deployment is {state} after {seconds - (deadline - time.time()):.0f}s: {why(seen) if seen else ''}")
        time.sleep(0.1)
