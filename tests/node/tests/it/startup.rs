//! What the node takes at start, and what it refuses to start with.

use serde_json::json;

use crate::harness::{Scratch, message, plan};

#[test]
fn the_s3_module_needs_a_bucket_and_an_endpoint_without_a_scheme() {
    let scratch = Scratch::new();
    let s3 = || plan(&scratch, "d").env("ENABLE_MODULES", "backup-s3");
    assert!(s3().refusal().contains("'BACKUP_S3_BUCKET' must be set"));
    let with_scheme = s3().env("BACKUP_S3_BUCKET", "b").env("BACKUP_S3_ENDPOINT", "http://127.0.0.1:1");
    assert!(with_scheme.refusal().contains("does not follow ip address or domain name standards"));
}

#[test]
fn a_mistyped_knob_a_relative_path_and_unequal_keys_are_refused() {
    let scratch = Scratch::new();
    assert!(plan(&scratch, "d").env("LIFEBOAT_NODE_CRASH", "x").refusal().contains("unknown knob"));
    assert!(plan(&scratch, "d").env("LIFEBOAT_NODE_CRASH_AT", "nowhere").refusal().contains("no such step"));
    assert!(plan(&scratch, "d").env("BACKUP_FILESYSTEM_PATH", "rel").refusal().contains("relative backup path"));
    let keys = plan(&scratch, "d")
        .env("AUTHENTICATION_APIKEY_ENABLED", "true")
        .env("AUTHENTICATION_APIKEY_ALLOWED_KEYS", "a,b,c")
        .env("AUTHENTICATION_APIKEY_USERS", "x,y");
    assert!(keys.refusal().contains("length of users and keys must match"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_told_from_a_real_server_and_names_its_bucket() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d")
        .env("ENABLE_MODULES", "backup-s3,backup-filesystem")
        .env("BACKUP_S3_BUCKET", "bkt")
        .env("BACKUP_S3_PATH", "backups")
        .env("BACKUP_S3_ENDPOINT", "127.0.0.1:9")
        .env("BACKUP_S3_USE_SSL", "false")
        .start();
    let (_, meta) = node.get("/v1/meta").await;
    assert_eq!(meta["version"], "1.38.11");
    assert_eq!(
        meta["modules"]["backup-s3"],
        json!({"endpoint": "127.0.0.1:9", "bucketName": "bkt", "rootName": "backups", "useSSL": false})
    );
    let (_, nodes) = node.get("/v1/nodes").await;
    assert_eq!(nodes["nodes"][0]["gitHash"], "lifeboat-double");
    assert_eq!(nodes["nodes"][0]["name"], "weaviate-0");
    assert!(nodes["nodes"][0]["shards"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_hostname_the_host_gives_the_name() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").unset("CLUSTER_HOSTNAME").start();
    let (_, nodes) = node.get("/v1/nodes").await;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(nodes["nodes"][0]["name"], host.trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_an_exact_path_and_unknown_paths_and_methods_have_the_frameworks_shape() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    assert_eq!(node.get("/v1/.well-known/live").await.0, 200);
    assert_eq!(node.get("/v1/.well-known/ready").await.0, 200);
    let (status, answer) = node.get("/v1/.well-known/ready?x=1").await;
    assert_eq!((status.as_u16(), &answer["code"]), (404, &json!(404)));
    let (status, answer) = node.post("/v1/meta", json!({})).await;
    assert_eq!((status.as_u16(), &answer["code"]), (405, &json!(405)));
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_comes_with_the_overrides_file_leaks_and_goes_with_a_mistyped_value() {
    let scratch = Scratch::new();
    let overrides = scratch.sub("overrides.yaml");
    std::fs::write(&overrides, "operational_mode: ReadOnly\n").unwrap();
    let node = plan(&scratch, "d")
        .env("RUNTIME_OVERRIDES_ENABLED", "on")
        .env("RUNTIME_OVERRIDES_PATH", &overrides)
        .env("RUNTIME_OVERRIDES_LOAD_INTERVAL", "20ms")
        .start();
    let (status, answer) = node.post("/v1/schema", json!({"class": "A"})).await;
    assert_eq!(status, 503);
    assert!(message(&answer).starts_with("read-only mode is enabled"), "{answer}");
    assert_eq!(node.get("/v1/nodes").await.1["nodes"][0]["operationalMode"], "ReadOnly");
    let (status, _) = node.post("/v1/graphql", json!({"query": ""})).await;
    assert_eq!(status, 422, "graphql is let through, and refused for its own reason");
    let (status, _) = node.post("//v1/schema", json!({"class": "Leak"})).await;
    assert_eq!(status, 200, "two slashes pass, as on the real server");
    assert_eq!(node.get("/v1/schema/Leak").await.0, 200);
    // Renamed into place: a file that is being written is empty for a moment, which means the default mode.
    let aside = scratch.sub("overrides.new");
    std::fs::write(&aside, "operational_mode: readonly\n").unwrap();
    std::fs::rename(&aside, &overrides).unwrap();
    for _ in 0..500 {
        if node.post("/v1/schema", json!({"class": "A"})).await.0 == 200 {
            assert_eq!(node.get("/v1/nodes").await.1["nodes"][0]["operationalMode"], "readonly");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("still read-only");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overrides_file_that_is_not_there_at_the_start_is_never_read() {
    let scratch = Scratch::new();
    let overrides = scratch.sub("overrides.yaml");
    let node = plan(&scratch, "d")
        .env("RUNTIME_OVERRIDES_ENABLED", "on")
        .env("RUNTIME_OVERRIDES_PATH", &overrides)
        .env("RUNTIME_OVERRIDES_LOAD_INTERVAL", "10ms")
        .start();
    std::fs::write(&overrides, "operational_mode: ReadOnly\n").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(node.post("/v1/schema", json!({"class": "A"})).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_cannot_share_a_data_path() {
    let scratch = Scratch::new();
    let _first = plan(&scratch, "d").start();
    assert!(plan(&scratch, "d").refusal().contains("another node runs on this data"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_allowed_is_told_which_are() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    let (status, answer) = node.send(reqwest::Method::PATCH, "/v1/backups/s3", None).await;
    assert_eq!(status, 405);
    assert_eq!(answer, json!({"code": 405, "message": "method PATCH is not allowed, but [GET,POST] are"}));
}
