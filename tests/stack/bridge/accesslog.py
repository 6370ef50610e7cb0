"""One NDJSON line for every S3 request, written before its last byte leaves: who asked for what, and what it cost.

The principal is the access key of the Authorization header (an instance id, `fn:<function>`, `tester`, ...).
"""
import os
from urllib.parse import unquote

import emulator
import emulator_s3
from context import STACK_DIR, append_line, now_ms

PATH = os.path.join(STACK_DIR, "s3-access.ndjson")


def header(headers, name):
    for key, value in headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return None


def caller(scope):
    """(access key, is an S3 request) from the signature, in the header or in a presigned query."""
    text = header(scope["headers"], b"authorization") or ""
    query = scope.get("query_string", b"").decode("latin-1")
    if not text and "X-Amz-Credential=" in query:
        text = "Credential=" + unquote(query.split("X-Amz-Credential=")[1].split("&")[0]) + "/"
    match = emulator.S3_SCOPE.search(text)
    return (match.group(1), match.group(2) == "s3") if match else (None, False)


def logged(app):
    """The ASGI app with the log in front of it."""
    async def wrapped(scope, receive, send):
        key, is_s3 = caller(scope) if scope["type"] == "http" else (None, False)
        if not is_s3:
            await app(scope, receive, send)
            return
        if emulator.AUTH:  # loopback stands for TLS: policies that insist on aws:SecureTransport are not what is played here
            scope = {**scope, "headers": [*scope["headers"], (b"x-forwarded-proto", b"https")]}
        bucket, _, object_key = unquote(scope["path"]).lstrip("/").partition("/")
        line = {
            "at_ms": now_ms(), "principal": emulator_s3.principal_of(key), "method": scope["method"], "bucket": bucket,
            "key": object_key, "query": scope.get("query_string", b"").decode("latin-1"),
            "range": header(scope["headers"], b"range"), "status": 0, "bytes_in": 0, "bytes_out": 0,
            "if_match": header(scope["headers"], b"if-match"), "if_none_match": header(scope["headers"], b"if-none-match"),
        }

        async def counting_receive():
            message = await receive()
            if message["type"] == "http.request":
                line["bytes_in"] += len(message.get("body", b""))
            return message

        async def logging_send(message):
            if message["type"] == "http.response.start":
                line["status"] = message["status"]
                line["etag"] = header(message["headers"], b"etag")
                line["version"] = header(message["headers"], b"x-amz-version-id")
            elif message["type"] == "http.response.body":
                line["bytes_out"] += len(message.get("body", b""))
                if not message.get("more_body"):
                    append_line(PATH, line)
            await send(message)
        await app(scope, counting_receive, logging_send)
    return wrapped
