use lifeboat_domain::expectations::TenantStatus;
use serde_json::json;

use super::*;

#[tokio::test]
async fn meta_gives_version_and_modules() {
    let server = replaying(&["meta"]).await;
    let meta = node(&server).meta().await.unwrap();
    assert_eq!(meta.version, "1.38.11");
    assert_eq!(meta.modules["backup-s3"]["rootName"], "backups");
    assert_eq!(server.asked()[0].line, "GET /v1/meta");
}

#[tokio::test]
async fn nodes_count_queues_and_a_lazy_shard_is_not_work() {
    let shard = |status: &str, queued: u32| json!({"vectorIndexingStatus": status, "vectorQueueLength": queued});
    let indexing = json!({"nodes": [{"name": "n", "status": "HEALTHY", "version": "1.38.11",
        "shards": [shard("READY", 0), shard("INDEXING", 7), shard("READONLY", 0), shard("NEW", 1), shard("LAZY_LOADING", 0)]}]});
    for (reply, queue, not_ready) in [
        (recorded("nodes-verbose"), 0, 0),
        (recorded("nodes-minimal"), 0, 0),
        (recorded("nodes-verbose-after-restore"), 0, 0),
        (Reply::new(200, indexing.to_string()), 8, 3),
    ] {
        let server = Server::replying([reply]).await;
        let nodes = node(&server).nodes().await.unwrap();
        assert_eq!(nodes.len(), 1);
        assert_eq!((nodes[0].vector_queue_length, nodes[0].shards_not_ready), (queue, not_ready));
        assert_eq!(server.asked()[0].line, "GET /v1/nodes?output=verbose");
    }
    let server = replaying(&["nodes-verbose"]).await;
    let node = &node(&server).nodes().await.unwrap()[0];
    assert_eq!(
        (node.name.as_str(), node.status.as_str(), node.git_hash.as_str()),
        ("weaviate-0", "HEALTHY", "34febe578107")
    );
}

#[tokio::test]
async fn the_schema_is_sorted_and_knows_its_multi_tenant_classes() {
    let server = replaying(&["schema"]).await;
    let classes = node(&server).schema().await.unwrap();
    let shown: Vec<(&str, bool)> = classes.iter().map(|c| (c.name.as_str(), c.multi_tenant)).collect();
    assert_eq!(shown, [("Article", false), ("Note", false), ("Tenanted", true)]);
    assert_eq!(classes[0].definition["class"], "Article");
    let server = Server::replying([Reply::new(200, r#"{"classes":[]}"#), Reply::new(200, "{}")]).await;
    assert!(node(&server).schema().await.unwrap().is_empty());
    // No list at all is not an empty schema.
    assert!(matches!(node(&server).schema().await, Err(NodeError::Unknown { .. })));
}

#[tokio::test]
async fn aliases_are_empty_where_the_version_has_none() {
    let server = Server::replying([
        Reply::new(200, r#"{"aliases":[{"alias":"A","class":"Article"}]}"#),
        Reply::new(200, r#"{"aliases":null}"#),
        recorded("unknown-path"),
        Reply::new(500, ""),
    ])
    .await;
    let n = node(&server);
    assert_eq!(n.aliases().await.unwrap()["A"], "Article");
    assert!(n.aliases().await.unwrap().is_empty());
    assert!(n.aliases().await.unwrap().is_empty());
    assert!(n.aliases().await.is_err());
}

#[tokio::test]
async fn tenants_have_old_and_new_names_of_their_status() {
    let server = replaying(&["tenants"]).await;
    let tenants = node(&server).tenants("Tenanted").await.unwrap();
    let shown: Vec<(&str, &TenantStatus)> = tenants.iter().map(|t| (t.name.as_str(), &t.status)).collect();
    assert_eq!(
        shown,
        [("tactive", &TenantStatus::Active), ("tempty", &TenantStatus::Active), ("tinactive", &TenantStatus::Inactive)]
    );
    assert_eq!(server.asked()[0].line, "GET /v1/schema/Tenanted/tenants");
    let other = r#"[{"name":"a","activityStatus":"OFFLOADED"},{"name":"b","activityStatus":"ONLOADING"}]"#;
    let server = Server::replying([Reply::new(200, other)]).await;
    let tenants = node(&server).tenants("T").await.unwrap();
    assert_eq!(tenants[0].status, TenantStatus::Offloaded);
    assert_eq!(tenants[1].status, TenantStatus::Other("ONLOADING".into()));
}

#[tokio::test]
async fn an_object_comes_with_its_vectors_and_its_date() {
    let server = replaying(&["object-get"]).await;
    let id = "c0b11a96-4ccc-52dd-857c-7112275efb17";
    let object = node(&server).object(&place("Article", None), id).await.unwrap().unwrap();
    assert_eq!(object.id, id);
    assert_eq!(object.properties["n"], 7);
    assert_eq!(object.vectors["default"], [-0.352_334, -0.698_302, 0.301_869, -0.855_127]);
    assert_eq!(object.updated_at.unwrap().as_millisecond(), 1_795_172_421_311);
    assert_eq!(server.asked()[0].line, format!("GET {}", sample("object-get")["request"]["path"].as_str().unwrap()));
}

#[tokio::test]
async fn named_vectors_keep_their_names_and_several_of_one_name_are_joined() {
    let body = json!({"id": "x", "properties": null, "vectors": {"a": [1.0, 2.0], "b": [[1.0], [2.5]]}, "vector": []});
    let server = Server::replying([Reply::new(200, body.to_string())]).await;
    let object = node(&server).object(&place("C", None), "x").await.unwrap().unwrap();
    let expected: BTreeMap<String, Vec<f32>> = [("a".into(), vec![1.0, 2.0]), ("b".into(), vec![1.0, 2.5])].into();
    assert_eq!(object.vectors, expected);
}

#[tokio::test]
async fn an_object_that_is_not_there_is_none_but_a_missing_endpoint_is_not() {
    let server = Server::replying([Reply::new(404, ""), recorded("unknown-path"), Reply::new(500, "")]).await;
    let n = node(&server);
    assert_eq!(n.object(&place("C", Some("t 1")), "x").await.unwrap(), None);
    assert_eq!(server.asked()[0].line, "GET /v1/objects/C/x?include=vector&tenant=t%201");
    assert!(matches!(n.object(&place("C", None), "x").await, Err(NodeError::NotFound { .. })));
    assert!(matches!(n.object(&place("C", None), "x").await, Err(NodeError::Unknown { .. })));
}

#[tokio::test]
async fn the_cursor_gives_the_next_object_or_the_end() {
    let server =
        replaying(&["objects-after-zero", "objects-after-max", "objects-after-tenant", "objects-after-bad"]).await;
    let n = node(&server);
    let zero = "00000000-0000-0000-0000-000000000000";
    let first = n.object_after(&place("Article", None), zero).await.unwrap().unwrap();
    assert_eq!(first.id, "0008772d-1cdc-5d5a-9736-d4aec06952d2");
    assert_eq!(n.object_after(&place("Article", None), "f").await.unwrap(), None);
    assert!(n.object_after(&place("Tenanted", Some("tactive")), "8").await.unwrap().is_some());
    assert!(matches!(
        n.object_after(&place("Article", None), "zzz").await,
        Err(NodeError::Refused { status: 422, .. })
    ));
    let asked = server.asked();
    assert_eq!(asked[0].line, format!("GET /v1/objects?class=Article&after={zero}&limit=1&include=vector"));
    assert_eq!(asked[2].line, "GET /v1/objects?class=Tenanted&after=8&limit=1&include=vector&tenant=tactive");
}

#[tokio::test]
async fn a_backup_is_asked_for_with_its_classes_spelled_out() {
    let server = replaying(&["create-accepted", "restore-accepted"]).await;
    let n = node(&server);
    let classes = ["Article".to_owned(), "Note".to_owned(), "Tenanted".to_owned()];
    let accepted = n.create_backup(&backup("nightly-1"), &classes).await.unwrap();
    assert_eq!((accepted.classes.as_slice(), accepted.status), (classes.as_slice(), OperationStatus::Started));
    n.start_restore(&backup("nightly-1"), &classes).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST /v1/backups/s3");
    assert_eq!(asked[0].json(), json!({"id": "nightly-1", "include": classes}));
    assert_eq!(asked[1].line, "POST /v1/backups/s3/nightly-1/restore");
    let config = json!({"rolesOptions": "noRestore", "usersOptions": "noRestore"});
    assert_eq!(asked[1].json(), json!({"include": classes, "config": config}));
}

#[tokio::test]
async fn a_healed_backup_is_restored_and_asked_after_under_its_own_path() {
    let server = replaying(&["restore-accepted", "restore-status-FINALIZING"]).await;
    let n = node(&server);
    n.start_restore_at(&backup("nightly-1"), &["Article".to_owned()], Some("healed")).await.unwrap();
    n.restore_status_at(&backup("nightly-1"), Some("healed")).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].json()["config"]["Path"], "healed");
    assert_eq!(asked[1].line, "GET /v1/backups/s3/nightly-1/restore?path=healed");
}

#[tokio::test]
async fn a_class_list_that_would_mean_every_class_is_never_sent() {
    let server = Server::replying([]).await;
    let n = node(&server);
    for classes in [vec![], vec!["Art*".to_owned()], vec!["Article".to_owned(), "N?te".to_owned()], vec![String::new()]]
    {
        assert!(matches!(n.create_backup(&backup("b"), &classes).await, Err(NodeError::Refused { .. })));
        assert!(matches!(n.start_restore(&backup("b"), &classes).await, Err(NodeError::Refused { .. })));
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn statuses_are_read_with_their_error_and_without_their_times() {
    for (name, status, error) in [
        ("create-status-started", OperationStatus::Started, ""),
        ("create-status-first-success", OperationStatus::Success, ""),
        ("create-status-canceled", OperationStatus::Canceled, "context canceled"),
    ] {
        let server = replaying(&[name]).await;
        let progress = node(&server).backup_status(&backup("nightly-1")).await.unwrap();
        assert_eq!((progress.status, progress.error.as_str()), (status, error), "{name}");
        assert_eq!(server.asked()[0].line, "GET /v1/backups/s3/nightly-1");
    }
    let server =
        replaying(&["restore-status-FINALIZING", "restore-status-class-exists", "restore-status-unknown"]).await;
    let n = node(&server);
    assert_eq!(n.restore_status(&backup("nightly-1")).await.unwrap().status, OperationStatus::Finalizing);
    let failed = n.restore_status(&backup("nightly-1")).await.unwrap();
    assert_eq!(failed.status, OperationStatus::Failed);
    assert!(failed.error.contains("class name Note already exists"));
    assert!(matches!(n.restore_status(&backup("nope")).await, Err(NodeError::NotFound { .. })));
}

#[tokio::test]
async fn a_status_that_this_build_does_not_know_stays_unknown() {
    let server = Server::replying([Reply::new(200, r#"{"status":"DONE","id":"b"}"#)]).await;
    let progress = node(&server).backup_status(&backup("b")).await.unwrap();
    assert_eq!(progress.status, OperationStatus::Unknown("DONE".into()));
}

#[tokio::test]
async fn backups_are_listed_and_cancelled() {
    let server = replaying(&["list-one", "list-empty", "delete-running"]).await;
    let n = node(&server);
    assert_eq!(n.list_backups().await.unwrap(), [("nightly-1".to_owned(), OperationStatus::Success)]);
    assert!(n.list_backups().await.unwrap().is_empty());
    n.cancel_backup(&backup("cancel-1")).await.unwrap();
    assert_eq!(server.asked()[2].line, "DELETE /v1/backups/s3/cancel-1");
}

#[tokio::test]
async fn every_kind_of_refusal_keeps_its_meaning_and_weaviates_words() {
    let kind = |error: &NodeError| match error {
        NodeError::NotFound { .. } => "not found",
        NodeError::Unauthorized { .. } => "unauthorized",
        NodeError::Refused { .. } => "refused",
        NodeError::Unknown { .. } => "unknown",
    };
    for (reply, expected, words) in [
        (recorded("create-while-running"), "refused", "backup nightly-1 already in progress"),
        (recorded("create-cpu-too-high"), "refused", "should be less than or equal to 80"),
        (recorded("create-malformed-json"), "refused", "unexpected EOF"),
        (recorded("method-not-allowed"), "refused", "PATCH is not allowed"),
        (recorded("create-empty-id"), "unknown", "base backup cannot be the same"),
        (recorded("unknown-path"), "not found", "was not found"),
        (recorded("auth-reader-create"), "unauthorized", "insufficient permissions"),
        (recorded("readonly-aggregate-post"), "unknown", "read-only mode"),
        (Reply::new(429, "slow down"), "unknown", "slow down"),
        (Reply::new(418, ""), "refused", "(no message)"),
        (Reply::new(302, ""), "unknown", "302"),
        (Reply::new(202, "{}"), "unknown", "202"),
        (Reply::new(502, "<html>bad gateway</html>"), "unknown", "bad gateway"),
        (Reply::new(200, ""), "unknown", "0 bytes"),
        (Reply::new(200, "{\"sta"), "unknown", "does not parse"),
        (Reply::new(200, "[]"), "unknown", "does not parse"),
    ] {
        let shown = format!("{reply:?}");
        let server = Server::replying([reply]).await;
        let error = node(&server).create_backup(&backup("b"), &["C".to_owned()]).await.unwrap_err();
        assert_eq!(kind(&error), expected, "{shown}");
        assert!(error.to_string().contains(words), "{words:?} in {error}");
    }
}
