#!/usr/bin/env python3
"""Weaviate's own Python client, unchanged, against a server with the S3 backend and no collections.

Without --grpc (the double): everything that the client does over REST must work, and every call that it makes over gRPC must
fail at once with the double's own words. With --grpc (a real server): those calls must work too, a batch over an open stream
among them. Prints a line of JSON for each step; exit code 0 when every step ended as it must.
"""
import argparse
import json
import logging
import sys
import uuid
import warnings

warnings.filterwarnings("ignore")

import weaviate  # noqa: E402
from weaviate.auth import Auth  # noqa: E402
from weaviate.backup.backup import BackupStorage  # noqa: E402
from weaviate.classes.config import Configure, DataType, Property, ReferenceProperty  # noqa: E402
from weaviate.exceptions import UnexpectedStatusCodeError  # noqa: E402

THE_DOUBLES_WORDS = "without gRPC"
S3 = BackupStorage.S3
failures = 0
LOGGED = []


class Keep(logging.Handler):
    def emit(self, record):
        LOGGED.append(record.getMessage())


logging.getLogger("weaviate-client").addHandler(Keep())


def uid(number):
    return str(uuid.UUID(int=number))


def step(api, name, run, wanted=None):
    """Runs a step; `wanted` is what its value must be, or must make true."""
    global failures
    try:
        value = run()
        good = wanted is None or (wanted(value) if callable(wanted) else value == wanted)
        said = "" if good else repr(value)
    except Exception as error:  # whatever the client raises is what a user would see
        good, said = False, f"{type(error).__name__}: {error}"
    failures += not good
    print(json.dumps({"api": api, "step": name, "ok": good, "said": said[:600]}), flush=True)


def refused(run, status, words):
    """Whether a call is refused with this HTTP status and these words."""
    try:
        run()
    except UnexpectedStatusCodeError as error:
        return error.status_code == status and words in str(error)
    return False


def rest(client, ident, grpc):
    # The client's own idea of live has a gRPC health check in it.
    step("grpc" if grpc else "refused", "is_live", client.is_live, grpc)
    step("rest", "is_ready", client.is_ready, True)
    step("rest", "get_meta", client.get_meta, lambda meta: "backup-s3" in meta["modules"] and meta["version"][0] == "1")
    step("rest", "cluster.nodes", lambda: client.cluster.nodes(output="verbose"),
         lambda nodes: len(nodes) == 1 and nodes[0].status == "HEALTHY")

    article = client.collections.create(
        "Article", vector_config=Configure.Vectors.self_provided(),
        properties=[Property(name="title", data_type=DataType.TEXT), Property(name="n", data_type=DataType.INT)])
    quantized = Configure.VectorIndex.hnsw(quantizer=Configure.VectorIndex.Quantizer.bq())
    note = client.collections.create(
        "Note", multi_tenancy_config=Configure.multi_tenancy(enabled=True),
        vector_config=[Configure.Vectors.self_provided(name="a"),
                       Configure.Vectors.self_provided(name="b", vector_index_config=quantized)],
        properties=[Property(name="title", data_type=DataType.TEXT)],
        references=[ReferenceProperty(name="of", target_collection="Article")])
    step("rest", "collections.list_all", lambda: sorted(client.collections.list_all()), ["Article", "Note"])
    step("rest", "collections.exists", lambda: [client.collections.exists(c) for c in ("Note", "Nope")], [True, False])
    step("rest", "config.get", note.config.get,
         lambda c: sorted(c.vector_config) == ["a", "b"] and c.references[0].name == "of" and c.multi_tenancy_config.enabled)
    step("rest", "config.add_property",
         lambda: (article.config.add_property(Property(name="more", data_type=DataType.TEXT)),
                  [p.name for p in article.config.get().properties])[1], ["title", "n", "more"])
    step("rest", "config.update",
         lambda: (article.config.update(description="words"), article.config.get().description)[1], "words")
    step("rest", "config.get_shards", article.config.get_shards, lambda shards: shards[0].status == "READY")

    insert = lambda: article.data.insert({"title": "x", "n": 1}, uuid=uid(1), vector=[0.1, 0.2])  # noqa: E731
    step("rest", "data.insert", lambda: str(insert()), uid(1))
    step("rest", "data.insert of an id that is there", lambda: refused(insert, 422, "already exists"), True)
    step("rest", "data.update", lambda: article.data.update(uid(1), {"title": "y"}))
    step("rest", "data.replace", lambda: article.data.replace(uid(1), {"title": "z", "n": 2}, vector=[0.1, 0.3]))
    step("rest", "data.exists", lambda: [article.data.exists(uid(n)) for n in (1, 2)], [True, False])
    step("rest", "data.delete_by_id of nothing", lambda: article.data.delete_by_id(uid(7)), True)
    step("rest", "tenants.create", lambda: note.tenants.create(["t1", "t2"]))
    step("rest", "tenants.exists", lambda: [note.tenants.exists(t) for t in ("t1", "nobody")], [True, False])
    here = note.with_tenant("t1")
    step("rest", "data.insert with references and named vectors",
         lambda: str(here.data.insert({"title": "x"}, references={"of": uid(1)}, uuid=uid(3),
                                      vector={"a": [1.0, 2.0], "b": [3.0, 4.0]})), uid(3))
    for name in ("reference_add", "reference_replace", "reference_delete"):
        step("rest", f"data.{name}", lambda name=name: getattr(here.data, name)(uid(3), "of", uid(1)))
    step("rest", "tenants.deactivate", lambda: note.tenants.deactivate("t2"))
    step("rest", "alias.create", lambda: client.alias.create(alias_name="Piece", target_collection="Article"))
    step("rest", "alias.list_all", lambda: sorted(client.alias.list_all()), ["Piece"])
    step("rest", "alias.delete", lambda: client.alias.delete(alias_name="Piece"), True)

    counted = "{Aggregate{Article{meta{count}}}}"
    count = lambda: client.graphql_raw_query(counted).aggregate["Article"][0]["meta"]["count"]  # noqa: E731
    step("rest", "graphql_raw_query", count, 1)
    step("rest", "backup.create", lambda: client.backup.create(ident, S3, wait_for_completion=True),
         lambda made: made.status == "SUCCESS" and sorted(made.collections) == ["Article", "Note"])
    step("rest", "backup.get_create_status", lambda: client.backup.get_create_status(ident, S3).status, "SUCCESS")
    step("rest", "backup.get_create_status of nothing",
         lambda: refused(lambda: client.backup.get_create_status("never-made", S3), 404, "metadata not found"), True)
    step("rest", "backup.create again",
         lambda: refused(lambda: client.backup.create(ident, S3), 422, "already exists"), True)
    step("rest", "backup.list_backups", lambda: [(b.backup_id, b.status) for b in client.backup.list_backups(S3)],
         [(ident, "SUCCESS")])
    step("rest", "backup.cancel of nothing", lambda: client.backup.cancel("never-made", S3), True)
    step("rest", "backup.cancel too late",
         lambda: refused(lambda: client.backup.cancel(ident, S3), 422, "already succeeded"), True)
    step("rest", "collections.delete_all", lambda: (client.collections.delete_all(), list(client.collections.list_all()))[1], [])
    step("rest", "backup.restore", lambda: client.backup.restore(ident, S3, wait_for_completion=True),
         lambda made: made.status == "SUCCESS" and sorted(made.collections) == ["Article", "Note"])
    step("rest", "backup.get_restore_status", lambda: client.backup.get_restore_status(ident, S3).status, "SUCCESS")
    step("rest", "what came back", lambda: (count(), article.data.exists(uid(1)), here.data.exists(uid(3))), (1, True, True))


def grpc_calls(article):
    def fixed():
        with article.batch.fixed_size(10) as batch:
            for n in range(20):
                batch.add_object({"title": f"b{n}"}, uuid=uid(100 + n), vector=[0.5, n])
        return refuse_half(article.batch.failed_objects)

    def stream():
        with article.batch.stream() as batch:
            for n in range(20):
                batch.add_object({"title": f"s{n}"}, uuid=uid(200 + n), vector=[0.5, n])
        return refuse_half(article.batch.failed_objects)

    def refuse_half(failed):
        if failed:
            raise RuntimeError(f"{len(failed)} objects failed: {failed[0].message}")
        return 0

    return [
        ("data.insert_many", lambda: article.data.insert_many([{"title": "q"}]).has_errors, False),
        ("query.fetch_objects", lambda: len(article.query.fetch_objects(limit=2).objects), 2),
        ("query.fetch_object_by_id", lambda: article.query.fetch_object_by_id(uid(1)).properties["title"], "z"),
        ("query.near_vector", lambda: len(article.query.near_vector([0.1, 0.3], limit=1).objects), 1),
        ("query.bm25", lambda: len(article.query.bm25("z", limit=5).objects), 1),
        ("aggregate.over_all", lambda: article.aggregate.over_all(total_count=True).total_count, 2),
        ("batch.fixed_size", fixed, 0),
        ("batch.stream", stream, 0),
        ("after the batches", lambda: article.aggregate.over_all(total_count=True).total_count, 42),
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--key")
    parser.add_argument("--backup-id", default="by-the-python-client")
    parser.add_argument("--grpc", action="store_true", help="gRPC must work; without it, it must be refused")
    given = parser.parse_args()
    connect = lambda skip: weaviate.connect_to_custom(  # noqa: E731
        http_host=given.host, http_port=given.port, http_secure=False, grpc_host=given.host, grpc_port=given.grpc_port,
        grpc_secure=False, auth_credentials=Auth.api_key(given.key) if given.key else None, skip_init_checks=skip)
    client = connect(True)
    try:
        meta = client.get_meta()
        print(json.dumps({"client": weaviate.__version__, "server": meta["version"],
                          "git_hash": client.cluster.nodes()[0].git_hash}), flush=True)
        rest(client, given.backup_id, given.grpc)
        article = client.collections.use("Article")
        for name, run, wanted in grpc_calls(article):
            if given.grpc:
                step("grpc", name, run, wanted)
            elif name == "after the batches":
                continue
            else:
                def told(run=run):
                    # A stream that breaks is only logged by the client, and loses what it was given.
                    LOGGED.clear()
                    try:
                        return f"{run()!r} {LOGGED}"
                    except Exception as error:
                        return f"{error} {error.__cause__}"
                step("refused", name, told, lambda said: THE_DOUBLES_WORDS in said)

        def checks():
            try:
                connect(False).close()
                return "connected"
            except Exception as error:
                return type(error).__name__
        wanted = "connected" if given.grpc else "WeaviateGRPCUnavailableError"
        step("grpc" if given.grpc else "refused", "connect with the initial checks", checks, wanted)
    finally:
        client.close()
    sys.exit(1 if failures else 0)


main()
