"""The AWS CLI of the instances: any operation of any service by its own model, --query and --output; `s3 cp` of one file.

The `aws` stand-in hands its arguments over to here, because loading the SDK anew for each call would be most of a script's time.
"""
import io
import json
import os
import threading

import botocore.session
import jmespath
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

GLOBAL = {"--region": "us-east-1", "--endpoint-url": None, "--query": None, "--output": "json", "--cli-connect-timeout": "60",
          "--cli-read-timeout": "60"}
IGNORED = ("--no-cli-pager", "--quiet", "--only-show-errors", "--no-progress")
_clients, _lock = {}, threading.Lock()


class Usage(Exception):
    """The command line cannot be understood: exit 252, as the CLI does."""


class Call:
    """One command line, run in a directory as somebody."""

    def __init__(self, argv, cwd, credentials):
        self.cwd, self.credentials, self.out = cwd, tuple(credentials), io.StringIO()
        self.settings, self.words, self.named = dict(GLOBAL), [], {}
        args = list(argv)
        while args:
            word = args.pop(0)
            name, equals, value = word.partition("=")
            if name in self.settings:
                self.settings[name] = value if equals else args.pop(0)
            elif word in IGNORED:
                continue
            elif word.startswith("--"):
                self.named[name] = value if equals else (args.pop(0) if args and not args[0].startswith("--") else True)
            else:
                self.words.append(word)

    def client(self, service):
        endpoint = self.settings["--endpoint-url"] or os.environ["AWS_ENDPOINT_URL"]
        timeouts = int(self.settings["--cli-connect-timeout"]), int(self.settings["--cli-read-timeout"])
        key = (service, self.settings["--region"], endpoint, timeouts, self.credentials)
        with _lock:
            if key not in _clients:
                access, secret, token = self.credentials
                _clients[key] = botocore.session.get_session().create_client(
                    service, region_name=self.settings["--region"], endpoint_url=endpoint, aws_access_key_id=access,
                    aws_secret_access_key=secret, aws_session_token=token, config=Config(
                        connect_timeout=timeouts[0], read_timeout=timeouts[1], retries={"total_max_attempts": 2}))
            return _clients[key]

    def path(self, name):
        return os.path.join(self.cwd, name)

    def run(self):
        if self.words[:2] == ["s3", "cp"]:
            self.copy(*self.words[2:4])
        elif len(self.words) >= 2:
            self.operation("s3" if self.words[0] == "s3api" else self.words[0], self.words[1], self.words[2:])
        else:
            raise Usage("the following arguments are required: command")

    def operation(self, service, operation, rest):
        api = self.client(service)
        names = {xform_name(n): n for n in api.meta.service_model.operation_names}
        method = operation.replace("-", "_")
        if method not in names:
            raise Usage(f"argument operation: Invalid choice: {operation}")
        shape = api.meta.service_model.operation_model(names[method]).input_shape
        members = {xform_name(m).replace("_", "-"): (m, s) for m, s in (shape.members if shape else {}).items()}
        request = {}
        for name, value in self.named.items():
            if name[2:] not in members:
                raise Usage(f"Unknown options: {name}")
            member, kind = members[name[2:]]
            request[member] = self.body(value) if member == "Body" else typed(kind, value)
        answer = getattr(api, method)(**request)
        answer.pop("ResponseMetadata", None)
        if rest and hasattr(answer.get("Body"), "read"):
            self.save(answer.pop("Body"), rest[0])
        if self.settings["--query"]:
            answer = jmespath.search(self.settings["--query"], answer)
        print(text(answer) if self.settings["--output"] == "text" else json.dumps(answer, default=str, indent=4), file=self.out)

    def body(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def save(self, body, name):
        with open(self.path(name), "wb") as out:
            for chunk in body.iter_chunks(1 << 20):
                out.write(chunk)

    def copy(self, source, target):
        api, remote = self.client("s3"), source if source.startswith("s3://") else target
        bucket, _, key = remote[5:].partition("/")
        if remote is source:
            self.save(api.get_object(Bucket=bucket, Key=key)["Body"], target)
        else:
            api.put_object(Bucket=bucket, Key=key, Body=self.body(source))


def typed(shape, value):
    if shape.type_name in ("structure", "list", "map"):
        try:
            return json.loads(value)
        except ValueError as error:
            if shape.type_name == "list":
                return value.split(",")
            raise Usage(f"cannot read {value!r}") from error
    if shape.type_name == "boolean":
        return value is True or str(value).lower() == "true"
    return int(value) if shape.type_name in ("integer", "long") else value


def text(value):
    if isinstance(value, (list, tuple)):
        return "\t".join(text(v) for v in value)
    if isinstance(value, dict):
        return "\t".join(text(v) for v in value.values())
    return "None" if value is None else str(value)


def run(argv, cwd, credentials):
    """{code, out, err} as the CLI would leave them."""
    call, code, error = None, 0, ""
    try:
        call = Call(argv, cwd, credentials)
        call.run()
    except Usage as usage:
        code, error = 252, f"aws: error: {usage}"
    except ClientError as refused:
        code, error = 254, f"\n{refused}"
    except (BotoCoreError, OSError, IndexError) as failed:
        code, error = 255, f"\n{failed}"
    return {"code": code, "out": call.out.getvalue() if call else "", "err": error}
