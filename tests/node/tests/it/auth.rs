//! Keys, the admin list, and the log that shows who wrote.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Scratch, message, plan};

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_asked_for_and_readers_may_not_write() {
    let scratch = Scratch::new();
    let mut node = plan(&scratch, "d")
        .env("AUTHENTICATION_APIKEY_ENABLED", "true")
        .env("AUTHENTICATION_APIKEY_ALLOWED_KEYS", "op-key,read-key")
        .env("AUTHENTICATION_APIKEY_USERS", "operator,reader")
        .env("AUTHORIZATION_ADMINLIST_ENABLED", "true")
        .env("AUTHORIZATION_ADMINLIST_USERS", "operator")
        .env("AUTHORIZATION_ADMINLIST_READONLY_USERS", "reader")
        .env("LIFEBOAT_NODE_ACCESS_LOG", scratch.sub("access.ndjson"))
        .start();
    let (status, answer) = node.get("/v1/schema").await;
    assert_eq!(status, 401);
    assert_eq!(
        answer,
        json!({"code": 401, "message": "anonymous access not enabled. Please authenticate through one of the available methods: [API-keys]"})
    );
    assert_eq!(node.get("/v1/.well-known/ready").await.0, 200, "health asks for no key");
    node.set_key(Some("wrong"));
    assert_eq!(
        node.get("/v1/schema").await,
        (StatusCode::UNAUTHORIZED, json!({"code": 401, "message": "unauthorized: invalid api key"}))
    );
    node.set_key(Some("op-key"));
    node.fill("Article", 3).await;
    node.set_key(Some("read-key"));
    assert_eq!(node.count("Article").await, 3);
    let (status, answer) = node.post("/v1/batch/objects", json!({"objects": [{"class": "Article"}]})).await;
    assert_eq!(status, 403);
    assert!(
        message(&answer).starts_with(
            "adminlist: authorization, forbidden action: user 'reader' has insufficient permissions to C ["
        ),
        "{answer}"
    );
    let (status, answer) = node.post("/v1/backups/filesystem", json!({"id": "b", "include": ["Article"]})).await;
    assert_eq!(status, 403);
    assert_eq!(
        message(&answer),
        "adminlist: authorization, forbidden action: user 'reader' has insufficient permissions to C [backups/collections/Article]"
    );
    let (status, answer) = node.post("/v1/backups/filesystem", json!({"id": "b"})).await;
    assert_eq!(status, 403);
    assert!(message(&answer).starts_with("authorization, forbidden action"), "{answer}");
    node.set_key(Some("op-key"));
    assert_eq!(node.backup("b").await["status"], "SUCCESS");
    node.set_key(Some("read-key"));
    assert_eq!(node.get("/v1/backups/filesystem/b").await.0, 200);
    assert_eq!(node.get("/v1/backups/filesystem").await.1.as_array().unwrap().len(), 1);
    assert_eq!(node.delete("/v1/backups/filesystem/b").await.0, 403);
    let log = std::fs::read_to_string(scratch.sub("access.ndjson")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let writes: Vec<&Value> =
        lines.iter().filter(|line| line["path"] == "/v1/batch/objects" && line["status"] == 200).collect();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0]["user"], "operator");
    assert!(!log.contains("op-key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_come_from_the_config_file_and_a_key_where_none_is_configured_is_refused() {
    let scratch = Scratch::new();
    let file = scratch.sub("conf.yaml");
    std::fs::write(&file, "authentication:\n  apikey:\n    enabled: true\n    allowed_keys:\n      - secret\n    users:\n      - operator\n").unwrap();
    let node = plan(&scratch, "d").arg("--config-file").arg(&file).start();
    assert_eq!(node.get("/v1/schema").await.0, 401);
    let node = node.with_key("secret");
    assert_eq!(node.get("/v1/schema").await.0, 200);
    let lost = plan(&scratch, "d3").arg("--config-file").arg(scratch.sub("missing.yaml"));
    assert_eq!(lost.start().get("/v1/schema").await.0, 200, "a missing file leaves the server open to anyone");
    let guarded = plan(&scratch, "d4")
        .arg("--config-file")
        .arg(scratch.sub("missing.yaml"))
        .env("AUTHENTICATION_APIKEY_ENABLED", "true");
    assert!(guarded.refusal().contains("need at least one valid allowed key"));
    let open = plan(&scratch, "d2").start();
    assert_eq!(open.get("/v1/schema").await.0, 200);
    let open = open.with_key("anything");
    assert_eq!(open.get("/v1/schema").await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn rbac_narrows_a_backup_to_what_the_user_may_see_and_says_success() {
    let scratch = Scratch::new();
    let mut node = plan(&scratch, "d")
        .env("AUTHENTICATION_APIKEY_ENABLED", "true")
        .env("AUTHENTICATION_APIKEY_ALLOWED_KEYS", "root-key,some-key,none-key")
        .env("AUTHENTICATION_APIKEY_USERS", "root,some,none")
        .env("AUTHORIZATION_RBAC_ENABLED", "true")
        .env("AUTHORIZATION_RBAC_ROOT_USERS", "root")
        .env("LIFEBOAT_NODE_RBAC_GRANTS", "some=Article")
        .start()
        .with_key("root-key");
    node.fill("Article", 2).await;
    node.fill("Author", 2).await;
    node.set_key(Some("some-key"));
    let (status, answer) = node.post("/v1/backups/filesystem", json!({"id": "narrow"})).await;
    assert_eq!((status.as_u16(), &answer["classes"]), (200, &json!(["Article"])));
    assert_eq!(node.finish("/v1/backups/filesystem/narrow").await["status"], "SUCCESS");
    node.set_key(Some("none-key"));
    let (status, answer) = node.post("/v1/backups/filesystem", json!({"id": "no", "include": ["Author"]})).await;
    assert_eq!(status, 403);
    assert_eq!(
        message(&answer),
        "rbac: authorization, forbidden action: user 'none' has insufficient permissions to create_backups [[Domain: backups,Collection: Author]]"
    );
}
