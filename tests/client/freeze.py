#!/usr/bin/env python3
"""Tries every way to write to a Weaviate, on order, and says which of them got through.

    freeze.py FIXED_ADDRESS OWN_ADDRESS

The key comes by the environment, FREEZE_KEY. Orders come on stdin, one a line; each is answered by one line of JSON on stdout.

    prepare       creates the collection and opens a stream of batches with the official client, through the fixed address
    attempt NAME  tries each way to write, through the fixed address, each with an object of its own; then reads by the node's own
                  address which of them are stored
    end           closes the stream

The official client's own batching (`client.batch.stream()`) is the open stream. The other ways use its generated stubs, or plain
HTTP over a connection of their own, so that what is refused is seen as it is and nothing is tried twice in secret.
"""
import http.client
import json
import os
import queue
import struct
import sys
import threading
import time
import uuid

import grpc
import weaviate
from google.protobuf.struct_pb2 import Struct
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.proto.v1.v6300.v1 import batch_pb2, weaviate_pb2_grpc

FIXED, OWN = sys.argv[1:3]
KEY = os.environ["FREEZE_KEY"]
CLASS = "Freeze"
SECONDS = 8  # for any one try
METADATA = [("authorization", f"Bearer {KEY}")]


def rest(address, method, path, body=None):
    """(status, text); the path goes out as it is written here, which urllib would not promise."""
    connection = http.client.HTTPConnection(address, 8080, timeout=SECONDS)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"})
        reply = connection.getresponse()
        return reply.status, reply.read().decode("utf-8", "replace")
    except OSError as error:
        return None, f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def fresh():
    return str(uuid.uuid4())


def plain(identity):
    return {"class": CLASS, "id": identity, "properties": {"n": 1}, "vector": [1, 0, 0, 0]}


def proto(identity):
    properties = Struct()
    properties.update({"n": 1})
    return batch_pb2.BatchObject(uuid=identity, collection=CLASS, vector_bytes=struct.pack("<4f", 1, 0, 0, 0),
                                 properties=batch_pb2.BatchObject.Properties(non_ref_properties=properties))


def by_rest(path):
    def attempt(identity):
        status, text = rest(FIXED, "POST", path, plain(identity))
        return f"{status} {text[:160]}"
    return attempt


def unary(identity):
    with grpc.insecure_channel(f"{FIXED}:50051") as channel:
        try:
            reply = weaviate_pb2_grpc.WeaviateStub(channel).BatchObjects(
                batch_pb2.BatchObjectsRequest(objects=[proto(identity)]), metadata=METADATA, timeout=SECONDS)
            return "OK" if not reply.errors else str(reply.errors[0])[:160]
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()[:160]}"


def grpc_web(identity):
    message = batch_pb2.BatchObjectsRequest(objects=[proto(identity)]).SerializeToString()
    connection = http.client.HTTPConnection(FIXED, 8080, timeout=SECONDS)
    try:
        connection.request("POST", "/v1/grpc-web/weaviate.v1.Weaviate/BatchObjects",
                           struct.pack(">BI", 0, len(message)) + message,
                           {"Content-Type": "application/grpc-web+proto", "Authorization": f"Bearer {KEY}"})
        reply = connection.getresponse()
        text = reply.read()
        said = {k.lower(): v for k, v in reply.headers.items() if k.lower().startswith("grpc")}
        return f"{reply.status} {said} {text[-120:]!r}"
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def new_stream(identity):
    requests, said = queue.Queue(), []
    kind = batch_pb2.BatchStreamRequest
    with grpc.insecure_channel(f"{FIXED}:50051") as channel:
        call = weaviate_pb2_grpc.WeaviateStub(channel).BatchStream(iter(requests.get, None), metadata=METADATA, timeout=SECONDS)
        requests.put(kind(start=kind.Start()))
        requests.put(kind(data=kind.Data(objects=kind.Data.Objects(values=[proto(identity)]))))
        requests.put(kind(stop=kind.Stop()))
        try:
            for reply in call:
                said.append(str(reply).replace("\n", " ").strip()[:80])
        except grpc.RpcError as error:
            said.append(f"{error.code().name} {error.details()[:120]}")
        requests.put(None)
    return "; ".join(said)[:240]


class OpenStream:
    """The official client batching over one stream that stays open until it is told to end."""

    def __init__(self):
        self.orders, self.errors, self.client = queue.Queue(), [], None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            self.client = weaviate.connect_to_custom(
                http_host=FIXED, http_port=8080, http_secure=False, grpc_host=FIXED, grpc_port=50051, grpc_secure=False,
                auth_credentials=Auth.api_key(KEY), skip_init_checks=True,
                additional_config=AdditionalConfig(timeout=Timeout(init=5, query=SECONDS, insert=SECONDS)))
            with self.client.batch.stream() as batch:
                while (identity := self.orders.get()) is not None:
                    batch.add_object(CLASS, {"n": 1}, uuid=identity, vector=[1.0, 0.0, 0.0, 0.0])
        except BaseException as error:  # whatever ends the stream is what is to be told
            self.errors.append(f"{type(error).__name__}: {str(error)[:200]}")

    def write(self, identity):
        self.orders.put(identity)
        deadline = time.time() + SECONDS
        while time.time() < deadline and not self.errors and not is_stored(identity):
            time.sleep(0.2)
        return "; ".join(self.errors) or "taken by the client"


def is_stored(identity):
    return rest(OWN, "GET", f"/v1/objects/{CLASS}/{identity}")[0] == 200


WAYS = {
    "rest": by_rest("/v1/objects"),
    "unary_grpc": unary,
    "grpc_web": grpc_web,
    "new_stream": new_stream,
    "double_slash": by_rest("//v1/objects"),
    "dot_segment": by_rest("/./v1/objects"),
    "behind_backups": by_rest("/v1/backups/../objects"),
}


def main():
    stream = None
    for line in sys.stdin:
        order, _, name = line.strip().partition(" ")
        if order == "prepare":
            status, text = rest(OWN, "GET", f"/v1/schema/{CLASS}")
            if status != 200:
                status, text = rest(OWN, "POST", "/v1/schema", {
                    "class": CLASS, "vectorizer": "none", "properties": [{"name": "n", "dataType": ["int"]}]})
            stream = OpenStream()
            first = fresh()
            said = stream.write(first)
            answer = {"ok": status == 200 and is_stored(first), "said": said, "schema": text[:200] if status != 200 else ""}
        elif order == "attempt":
            tries = {way: (identity := fresh(), act(identity)) for way, act in WAYS.items()}
            # Last, so that a stream that is cut leaves the others alone.
            identity = fresh()
            tries["open_stream"] = (identity, stream.write(identity))
            time.sleep(1)
            answer = {way: {"stored": is_stored(identity), "said": said} for way, (identity, said) in tries.items()}
        else:
            break
        print(json.dumps(answer), flush=True)
    os._exit(0)  # a stream that was cut would be retried for minutes


main()
