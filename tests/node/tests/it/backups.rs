//! Backups and restores as a controller meets them: layout, statuses, refusals.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Scratch, id, message, object, plan, read_json};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_the_real_layout_and_restores_bit_for_bit_on_another_node() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a")
        .env("LIFEBOAT_NODE_SEGMENT_BYTES", "2000")
        .env("BACKUP_MIN_CHUNK_SIZE", "1KiB")
        .env("BACKUP_CHUNK_TARGET_SIZE", "2KiB")
        .env("BACKUP_SPLIT_FILE_SIZE", "1500B")
        .start();
    node.fill("Article", 100).await;
    node.post("/v1/aliases", json!({"alias": "Text", "class": "Article"})).await;
    let done = node.backup("first").await;
    assert_eq!(done["status"], "SUCCESS", "{done}");
    let home = scratch.sub("backups/first");
    let global = read_json(&home.join("backup_config.json"));
    assert_eq!(global["status"], "SUCCESS");
    assert_eq!(global["version"], "2.1");
    assert_eq!(global["leader"], "weaviate-0");
    assert_eq!(global["nodes"]["weaviate-0"]["classes"], json!(["Article"]));
    assert!(global["node_mapping"].is_null());
    let part = read_json(&home.join("weaviate-0/backup.json"));
    assert_eq!(part["completedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(part["status"], "SUCCESS");
    assert_eq!(part["compressionType"], "gzip");
    let class = &part["classes"][0];
    let chunks = class["chunks"].as_object().unwrap();
    assert!(chunks.len() > 4, "several chunks: {chunks:?}");
    for number in chunks.keys() {
        assert!(home.join(format!("weaviate-0/Article/chunk-{number}")).is_file());
    }
    let split = class["shards"][0]["bigFilesChunk"]
        .as_object()
        .unwrap()
        .values()
        .any(|file| file["chunkKeys"].as_array().unwrap().len() > 1);
    assert!(split, "a large file is split over chunks");
    assert!(class["schema"].is_string() && class["shardingState"].is_string() && class["aliases"].is_string());

    let fresh = plan(&scratch, "b").start();
    assert_eq!(
        fresh.restore("first").await,
        json!({
        "backend": "filesystem", "id": "first", "status": "SUCCESS", "path": home.to_str().unwrap()})
    );
    let all = "/v1/objects?class=Article&limit=1000&include=vector";
    assert_eq!(fresh.raw(Method::GET, all, None).await, node.raw(Method::GET, all, None).await);
    assert_eq!(fresh.get("/v1/aliases").await.1, json!({"aliases": [{"alias": "Text", "class": "Article"}]}));
    assert_eq!(fresh.get("/v1/schema").await.1, node.get("/v1/schema").await.1);
    let restored = read_json(&home.join("restore_config.json"));
    assert_eq!(restored["status"], "SUCCESS");
    fresh.kill();
    assert_eq!(plan(&scratch, "b").start().count("Article").await, 100, "restored data survives a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_from_memory_has_neither_end_nor_size_and_one_from_the_store_has_both() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").env("LIFEBOAT_NODE_ROUND_SCALE", "0.1").start();
    node.fill("Article", 10).await;
    let (_, started) = node.post("/v1/backups/backup-filesystem", json!({"id": "b"})).await;
    assert_eq!(started["backend"], "backup-filesystem", "the answer echoes what was typed");
    let (_, running) = node.get("/v1/backups/filesystem/b").await;
    assert_eq!(running["status"], "STARTED");
    assert_eq!(running["completedAt"], "0001-01-01T00:00:00.000Z");
    assert!(running.get("size").is_none());
    let done = node.finish("/v1/backups/filesystem/b").await;
    assert_eq!(done["status"], "SUCCESS");
    let (_, stored) = node.get("/v1/backups/filesystem/b").await;
    assert!(stored["size"].as_f64().unwrap() > 0.0);
    let completed = stored["completedAt"].as_str().unwrap();
    assert_eq!((completed.len(), &completed[19..20], &completed[23..]), (24, ".", "Z"));
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_are_refused_as_the_real_server_refuses_them() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    let refused = async |body: Value| {
        let (status, answer) = node.post("/v1/backups/filesystem", body).await;
        (status.as_u16(), message(&answer).to_owned(), answer["code"].as_u64())
    };
    assert_eq!(refused(json!({"id": "b"})).await.1, "no available classes to backup, there's nothing to do here");
    node.fill("Article", 2).await;
    node.fill("Author", 2).await;
    assert_eq!(
        refused(json!({"id": "Upper"})).await.1,
        "invalid backup id: 'Upper' allowed characters are lowercase, 0-9, _, -"
    );
    assert_eq!(refused(json!({})).await.0, 500);
    assert!(refused(json!({"id": ""})).await.1.starts_with("base backup cannot be the same as the new backup ID"));
    assert_eq!(
        refused(json!({"id": "b", "include": ["Article"], "exclude": ["Author"]})).await.1,
        "malformed request: 'include' and 'exclude' cannot both contain values"
    );
    assert_eq!(
        refused(json!({"id": "b", "include": ["Article", "Article"]})).await.1,
        "class list 'include' contains duplicate: Article"
    );
    assert_eq!(refused(json!({"id": "b", "include": ["Nope"]})).await.1, "class Nope doesn't exist");
    assert_eq!(
        refused(json!({"id": "b", "exclude": ["A*"]})).await.1,
        "empty class list: please choose from : [Article Author]"
    );
    assert_eq!(refused(json!({"id": "b", "config": {"CPUPercentage": 81}})).await, (422, String::new(), Some(608)));
    assert_eq!(refused(json!({"id": "b", "config": {"CompressionLevel": "x"}})).await.2, Some(606));
    assert_eq!(refused(json!({"id": "b", "incremental_base_backup_id": "gone"})).await.0, 422);
    let (status, answer) = node.post("/v1/backups/s3", json!({"id": "b"})).await;
    assert_eq!(
        (status.as_u16(), message(&answer)),
        (422, "no backup backend \"s3\": backup: s3 not found, did you enable the right module?")
    );
    assert_eq!(node.backup("used").await["status"], "SUCCESS");
    let home = scratch.sub("backups/used").display().to_string();
    assert_eq!(
        refused(json!({"id": "used"})).await,
        (422, format!("backup \"used\" already exists at \"{home}\""), None)
    );
    let (status, answer) = node.delete("/v1/backups/filesystem/used").await;
    assert_eq!((status.as_u16(), message(&answer)), (422, "backup \"used\" already succeeded"));
    assert_eq!(node.delete("/v1/backups/filesystem/unknown").await.0, 204);
    assert_eq!(node.delete("/v1/backups/filesystem/Upper").await.0, 422);
    assert_eq!(node.get("/v1/backups/filesystem/Upper").await.0, 404);
    let (status, answer) = node.get("/v1/backups/filesystem/unknown").await;
    assert_eq!(status, 404);
    assert!(message(&answer).starts_with("coordinator cannot get status: metadata not found:"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_create_and_one_restore_run_at_a_time_and_wildcards_that_match_nothing_take_everything() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").env("LIFEBOAT_NODE_ROUND_SCALE", "0.2").start();
    node.fill("Article", 2).await;
    node.fill("Author", 2).await;
    let (_, answer) = node.post("/v1/backups/filesystem", json!({"id": "one", "include": ["Nope*"]})).await;
    assert_eq!(answer["classes"], json!(["Article", "Author"]));
    let (status, answer) = node.post("/v1/backups/filesystem", json!({"id": "two"})).await;
    assert_eq!((status.as_u16(), message(&answer)), (422, "backup one already in progress"));
    assert_eq!(node.finish("/v1/backups/filesystem/one").await["status"], "SUCCESS");
    let (_, answer) = node.post("/v1/backups/filesystem/one/restore", json!({"include": ["Nope*"]})).await;
    assert_eq!(answer["classes"], json!(["Article", "Author"]));
    let (status, answer) = node.post("/v1/backups/filesystem/one/restore", json!({})).await;
    assert_eq!((status.as_u16(), message(&answer)), (422, "restoration one already in progress"));
    node.finish("/v1/backups/filesystem/one/restore").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_exists_fails_only_at_the_end_and_the_others_come_back() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    node.fill("Article", 5).await;
    node.fill("Author", 4).await;
    node.backup("both").await;
    let other = plan(&scratch, "b").start();
    other.fill("Article", 1).await;
    let end = other.restore("both").await;
    assert_eq!(end["status"], "FAILED");
    assert_eq!(
        end["error"],
        "could not restore classes: [\"Article\": error when trying to restore class: class name Article already exists]"
    );
    assert_eq!((other.count("Article").await, other.count("Author").await), (1, 4));
    assert!(scratch.sub("b/.backup.tmp/Article").exists(), "what was downloaded stays on the disk");
    assert_eq!(other.delete("/v1/schema/Article").await.0, 200);
    assert_eq!(other.restore_with("both", json!({"include": ["Article"]})).await["status"], "SUCCESS");
    assert_eq!(other.count("Article").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn restores_are_refused_as_the_real_server_refuses_them() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    node.fill("Article", 5).await;
    node.backup("good").await;
    let other = plan(&scratch, "b").env("CLUSTER_HOSTNAME", "weaviate-9").start();
    let refused = async |id: &str, body: Value| {
        let (status, answer) = other.post(&format!("/v1/backups/filesystem/{id}/restore"), body).await;
        (status.as_u16(), message(&answer).to_owned())
    };
    let (status, text) = refused("unknown", json!({})).await;
    assert!(
        status == 404
            && text.starts_with("backup id \"unknown\" does not exist:")
            && text.ends_with("metadata not found"),
        "{text}"
    );
    let (status, text) = refused("good", json!({})).await;
    assert!(status == 500 && text.starts_with("cannot resolve hostname for \"weaviate-0\", nodes=map["), "{text}");
    assert_eq!(
        refused("good", json!({"include": ["Nope"]})).await,
        (422, "class Nope doesn't exist in the backup, but does have [Article]: ".to_owned())
    );
    assert_eq!(
        refused("good", json!({"exclude": ["Article"]})).await.1,
        "nothing left to restore: please choose from : [Article]"
    );
    let (status, body) = other
        .raw(
            Method::POST,
            "/v1/backups/filesystem/good/restore",
            Some(&json!({"node_mapping": {"stranger": "weaviate-9"}})),
        )
        .await;
    assert_eq!((status.as_u16(), body.as_str()), (200, ""), "a panic leaves an empty 200");
    let (status, answer) = other.send(Method::POST, "/v1/backups/filesystem/good/restore", None).await;
    assert_eq!((status.as_u16(), &answer["code"]), (422, &json!(602)));
    let mapped = json!({"node_mapping": {"weaviate-0": "weaviate-9"}});
    assert_eq!(other.restore_with("good", mapped).await["status"], "SUCCESS");
    assert_eq!(other.count("Article").await, 5);

    let config = scratch.sub("backups/good/backup_config.json");
    let good = read_json(&config);
    for (field, value, expected) in [
        ("status", "FAILED", "invalid backup in scheduler"),
        ("version", "3.0", "unable to restore backup as it was produced by a higher version: 3.0 > 2.1"),
        ("serverVersion", "1.22.5", "backup was created by Weaviate older than v1.23"),
    ] {
        let mut changed = good.clone();
        changed[field] = json!(value);
        std::fs::write(&config, changed.to_string()).unwrap();
        let (status, text) = refused("good", json!({})).await;
        assert!(status == 422 && text.starts_with(expected), "{field}: {status} {text}");
    }
    std::fs::write(&config, good.to_string()).unwrap();
    std::fs::rename(scratch.sub("backups/good/weaviate-0/backup.json"), scratch.sub("moved")).unwrap();
    let (status, text) = refused("good", json!({})).await;
    assert!(status == 404 && text.starts_with("fetch meta of node \"weaviate-0\":"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_restores_as_success_with_a_wrong_vector() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    node.fill("Article", 50).await;
    let body = json!({"id": "plain", "config": {"CompressionLevel": "NoCompression"}});
    assert_eq!(node.post("/v1/backups/filesystem", body).await.0, 200);
    assert_eq!(node.finish("/v1/backups/filesystem/plain").await["status"], "SUCCESS");
    let chunk = scratch.sub("backups/plain/weaviate-0/Article/chunk-1");
    let mut bytes = std::fs::read(&chunk).unwrap();
    let wanted: Vec<u8> = [0.1f32 * 31.0, 1.0, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let at = bytes.windows(12).position(|window| window[4..] == wanted[4..]).unwrap();
    bytes[at] ^= 0x40;
    std::fs::write(&chunk, bytes).unwrap();
    let other = plan(&scratch, "b").start();
    assert_eq!(other.restore("plain").await["status"], "SUCCESS", "the real server does not notice either");
    assert_eq!(other.count("Article").await, 50);
    let all = "/v1/objects?class=Article&limit=100&include=vector";
    assert_ne!(other.raw(Method::GET, all, None).await, node.raw(Method::GET, all, None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_chunk_and_a_missing_one_fail_the_restore() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    node.fill("Article", 50).await;
    node.backup("good").await;
    let chunk = scratch.sub("backups/good/weaviate-0/Article/chunk-1");
    let bytes = std::fs::read(&chunk).unwrap();
    std::fs::write(&chunk, &bytes[..bytes.len() / 2]).unwrap();
    let other = plan(&scratch, "b").start();
    assert_eq!(other.restore("good").await["status"], "FAILED");
    std::fs::remove_file(&chunk).unwrap();
    let end = other.restore("good").await;
    assert_eq!(end["status"], "FAILED");
    assert!(end["error"].as_str().unwrap().ends_with("unzip chunk Article/chunk-1: gzip.NewReader: EOF"), "{end}");
    assert_eq!(other.get("/v1/schema").await.1, json!({"classes": []}));
    std::fs::write(&chunk, bytes).unwrap();
    assert_eq!(other.restore("good").await["status"], "SUCCESS");
}

#[tokio::test(flavor = "multi_thread")]
async fn sleeping_tenants_are_backed_up_offloaded_ones_only_by_name() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").env("ENABLE_MODULES", "backup-filesystem,offload-s3").start();
    node.post("/v1/schema", json!({"class": "Multi", "multiTenancyConfig": {"enabled": true}})).await;
    node.post("/v1/schema/Multi/tenants", json!([{"name": "hot"}, {"name": "cold"}, {"name": "frozen"}])).await;
    for tenant in ["hot", "cold", "frozen"] {
        let mut sent = object("Multi", 1);
        sent["tenant"] = json!(tenant);
        assert_eq!(node.post("/v1/objects", sent).await.0, 200);
    }
    let sleep =
        json!([{"name": "cold", "activityStatus": "INACTIVE"}, {"name": "frozen", "activityStatus": "OFFLOADED"}]);
    assert_eq!(node.send(Method::PUT, "/v1/schema/Multi/tenants", Some(&sleep)).await.0, 200);
    assert_eq!(node.backup("b").await["status"], "SUCCESS");
    let part = read_json(&scratch.sub("backups/b/weaviate-0/backup.json"));
    let shards: Vec<&Value> =
        part["classes"][0]["shards"].as_array().unwrap().iter().map(|shard| &shard["name"]).collect();
    assert_eq!(shards, ["cold", "hot"]);
    let other = plan(&scratch, "b").start();
    assert_eq!(other.restore("b").await["status"], "SUCCESS");
    let (_, list) = other.get("/v1/schema/Multi/tenants").await;
    assert_eq!(
        list,
        json!([{"name": "cold", "activityStatus": "COLD"}, {"name": "frozen", "activityStatus": "FROZEN"}, {"name": "hot", "activityStatus": "HOT"}])
    );
    let (_, nodes) = other.get("/v1/nodes?output=verbose").await;
    assert_eq!(
        (&nodes["nodes"][0]["shards"][0]["loaded"], &nodes["nodes"][0]["shards"][0]["objectCount"]),
        (&json!(false), &json!(0)),
        "a lazy shard counts nothing"
    );
    assert_eq!(other.get(&format!("/v1/objects/Multi/{}?tenant=hot", id(1))).await.0, 200);
    let wake = json!([{"name": "cold", "activityStatus": "ACTIVE"}]);
    other.send(Method::PUT, "/v1/schema/Multi/tenants", Some(&wake)).await;
    assert_eq!(other.get(&format!("/v1/objects/Multi/{}?tenant=cold", id(1))).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_newest_first_and_one_bad_file_breaks_it() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    assert_eq!(node.get("/v1/backups/filesystem").await.1, json!([]));
    node.fill("Article", 1).await;
    node.backup("one").await;
    node.backup("two").await;
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&node.get("/v1/backups/filesystem").await.1), ["two", "one"]);
    assert_eq!(ids(&node.get("/v1/backups/filesystem?order=asc").await.1), ["one", "two"]);
    std::fs::create_dir_all(scratch.sub("backups/stray")).unwrap();
    assert_eq!(node.get("/v1/backups/filesystem").await.0, 200);
    std::fs::write(scratch.sub("backups/stray/backup_config.json"), "{").unwrap();
    assert_eq!(node.get("/v1/backups/filesystem").await.0, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_backup_points_into_its_base_and_breaks_without_it() {
    let scratch = Scratch::new();
    let node =
        plan(&scratch, "a").env("LIFEBOAT_NODE_SEGMENT_BYTES", "2000").env("BACKUP_MIN_CHUNK_SIZE", "1KiB").start();
    node.fill("Article", 100).await;
    node.backup("base").await;
    node.post("/v1/objects", object("Article", 500)).await;
    let (status, answer) =
        node.post("/v1/backups/filesystem", json!({"id": "next", "incremental_base_backup_id": "base"})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(node.finish("/v1/backups/filesystem/next").await["status"], "SUCCESS");
    let part = read_json(&scratch.sub("backups/next/weaviate-0/backup.json"));
    let borrowed = &part["classes"][0]["shards"][0]["incrementalBackupInfo"]["filesPerBackup"]["base"];
    assert!(!borrowed.as_array().unwrap().is_empty());
    let other = plan(&scratch, "b").start();
    assert_eq!(other.restore("next").await["status"], "SUCCESS");
    assert_eq!(other.count("Article").await, 101);
    std::fs::remove_dir_all(scratch.sub("backups/base")).unwrap();
    let (status, answer) = plan(&scratch, "c").start().post("/v1/backups/filesystem/next/restore", json!({})).await;
    assert_eq!(status, 422);
    assert!(message(&answer).starts_with("resolve base backup chain: could not fetch base backup"), "{answer}");
}
