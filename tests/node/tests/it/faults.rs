//! What goes wrong: crashes, failed writes, cancellations, wedges, and a SUCCESS that lies.

use serde_json::json;

use crate::harness::{Scratch, message, plan, read_json};

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_create_leaves_started_for_ever_until_a_boot_sweeps_it() {
    let scratch = Scratch::new();
    let mut node = plan(&scratch, "a").env("LIFEBOAT_NODE_CRASH_AT", "create-before-node-descriptor").start();
    node.fill("Article", 5).await;
    assert_eq!(node.post("/v1/backups/filesystem", json!({"id": "lost"})).await.0, 200);
    assert_eq!(node.gone(), Some(86));
    let node = plan(&scratch, "a").start();
    assert_eq!(node.get("/v1/backups/filesystem/lost").await.1["status"], "STARTED");
    assert_eq!(node.delete("/v1/backups/filesystem/lost").await.0, 204);
    assert_eq!(node.get("/v1/backups/filesystem/lost").await.1["status"], "STARTED", "a cancel changes nothing");
    assert_eq!(node.post("/v1/backups/filesystem", json!({"id": "lost"})).await.0, 422);
    assert_eq!(node.backup("fresh").await["status"], "SUCCESS", "a new id may start at once");
    node.kill();
    let node = plan(&scratch, "a").env("ENABLE_CLEANUP_UNFINISHED_BACKUPS", "true").start();
    let swept = node.get("/v1/backups/filesystem/lost").await.1;
    assert_eq!(
        (&swept["status"], &swept["error"]),
        (&json!("CANCELED"), &json!("backup canceled due to node restart"))
    );
    let (status, answer) = node.post("/v1/backups/filesystem", json!({"id": "lost"})).await;
    assert_eq!(status, 422);
    assert!(message(&answer).ends_with("%!w(<nil>)"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn success_in_memory_is_lost_when_the_final_write_fails() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").env("LIFEBOAT_NODE_FAIL_PUT", "backup_config.json#2").start();
    node.fill("Article", 5).await;
    node.post("/v1/backups/filesystem", json!({"id": "b"})).await;
    for _ in 0..200 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        if scratch.sub("backups/b/weaviate-0/backup.json").exists()
            && node.post("/v1/backups/filesystem", json!({"id": "other"})).await.0 == 200
        {
            break;
        }
    }
    assert_eq!(node.get("/v1/backups/filesystem/b").await.1["status"], "STARTED");
    let (status, answer) = node.post("/v1/backups/filesystem/b/restore", json!({})).await;
    assert_eq!(status, 422);
    assert!(message(&answer).starts_with("invalid backup in scheduler"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_descriptor_is_a_failure_also_where_the_participant_keeps_silent() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").env("LIFEBOAT_NODE_FAIL_PUT", "weaviate-0/backup.json").start();
    node.fill("Article", 5).await;
    assert_eq!(node.backup("new").await["status"], "FAILED");
    node.kill();
    let node = plan(&scratch, "a")
        .env("LIFEBOAT_NODE_VERSION", "1.39.0")
        .env("LIFEBOAT_NODE_FAIL_PUT", "weaviate-0/backup.json")
        .start();
    let end = node.backup("old").await;
    assert_eq!(end["status"], "FAILED");
    assert!(
        end["error"].as_str().unwrap().starts_with("cannot get status while backing up: metadata not found:"),
        "{end}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_store_fail_the_call_or_the_backup() {
    let scratch = Scratch::new();
    let probe = plan(&scratch, "a").env("LIFEBOAT_NODE_FAIL_PUT", "p/access-check").start();
    probe.fill("Article", 5).await;
    let (status, answer) = probe.post("/v1/backups/filesystem", json!({"id": "p"})).await;
    assert_eq!(status, 500);
    assert!(message(&answer).starts_with("init uploader:"), "{answer}");
    probe.kill();
    let chunk = plan(&scratch, "a").env("LIFEBOAT_NODE_FAIL_PUT", "chunk-1").start();
    let end = chunk.backup("c").await;
    assert_eq!(end["status"], "FAILED");
    assert!(end["error"].as_str().unwrap().contains("injected failure"), "{end}");
    let part = read_json(&scratch.sub("backups/c/weaviate-0/backup.json"));
    assert_eq!(part["status"], "FAILED");
    chunk.kill();
    let skipping = plan(&scratch, "a")
        .env("BACKUP_SKIP_ACCESS_CHECK", "true")
        .env("LIFEBOAT_NODE_FAIL_PUT", "access-check,restore_config.json")
        .start();
    assert_eq!(skipping.backup("s").await["status"], "SUCCESS", "no probe, no failure");
    let (status, answer) = skipping.post("/v1/backups/filesystem/s/restore", json!({})).await;
    assert_eq!(status, 500);
    assert!(message(&answer).starts_with("put initial metadata:"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_upload_can_be_cancelled_and_a_hung_node_holds_its_slot() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").env("LIFEBOAT_NODE_HANG_AT", "create-chunk").start();
    node.fill("Article", 5).await;
    node.post("/v1/backups/filesystem", json!({"id": "slow"})).await;
    assert_eq!(node.delete("/v1/backups/filesystem/slow").await.0, 204);
    let end = node.finish("/v1/backups/filesystem/slow").await;
    assert_eq!(end["status"], "CANCELED", "{end}");
    node.kill();
    let hung = plan(&scratch, "a").env("LIFEBOAT_NODE_HANG_AT", "create-accepted").start();
    hung.post("/v1/backups/filesystem", json!({"id": "hung"})).await;
    hung.delete("/v1/backups/filesystem/hung").await;
    let (status, answer) = hung.post("/v1/backups/filesystem", json!({"id": "next"})).await;
    assert_eq!((status.as_u16(), message(&answer)), (422, "backup hung already in progress"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_cancelled_before_finalizing_and_not_after() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    node.fill("Article", 5).await;
    node.backup("b").await;
    node.backup("untouched").await;
    // Its download hangs until it is cancelled, however long that takes.
    let slow = plan(&scratch, "b").env("LIFEBOAT_NODE_HANG_AT", "restore-chunk").start();
    slow.post("/v1/backups/filesystem/b/restore", json!({})).await;
    assert_eq!(slow.delete("/v1/backups/filesystem/b/restore").await.0, 204);
    let end = slow.finish("/v1/backups/filesystem/b/restore").await;
    assert_eq!(end["status"], "CANCELED");
    assert_eq!(slow.get("/v1/schema").await.1, json!({"classes": []}));
    let finalizing = plan(&scratch, "c").env("LIFEBOAT_NODE_HANG_AT", "restore-finalizing").start();
    // Another backup: what the cancelled one still writes under its own must not be taken for an end of this one.
    let path = "/v1/backups/filesystem/untouched/restore";
    let asked = finalizing.post(path, json!({})).await;
    assert_eq!(asked.0, 200, "{asked:?}");
    // What the store says decides; memory says it a moment earlier.
    let says = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    while !says(&scratch.sub("backups/untouched/restore_config.json")).contains("\"status\":\"FINALIZING\"") {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (status, answer) = finalizing.delete(path).await;
    assert_eq!(
        (status.as_u16(), message(&answer)),
        (422, "restore \"untouched\" is applying schema changes and cannot be cancelled")
    );
    let old = plan(&scratch, "d").env("LIFEBOAT_NODE_VERSION", "1.35.0").start();
    assert_eq!(old.delete(path).await.0, 405);
    assert_eq!(old.delete("/v1/backups/filesystem/unknown").await.0, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_another_id_marks_the_running_restore() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    node.fill("Article", 5).await;
    node.backup("b").await;
    let other = plan(&scratch, "b").env("LIFEBOAT_NODE_ROUND_SCALE", "0.2").start();
    other.post("/v1/backups/filesystem/b/restore", json!({})).await;
    assert_eq!(other.delete("/v1/backups/filesystem/unknown/restore").await.0, 204);
    assert_eq!(other.finish("/v1/backups/filesystem/b/restore").await["status"], "CANCELED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_cancelling_wedges_the_id() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    node.fill("Article", 5).await;
    node.backup("b").await;
    let mut crashing = plan(&scratch, "b")
        .env("LIFEBOAT_NODE_ROUND_SCALE", "1")
        .env("LIFEBOAT_NODE_CRASH_AT", "restore-cancelling")
        .start();
    let path = "/v1/backups/filesystem/b/restore";
    crashing.post(path, json!({})).await;
    let config = scratch.sub("backups/b/restore_config.json");
    let url = crashing.url.clone();
    let cancelled = reqwest::Client::new().delete(format!("{url}{path}")).send().await;
    assert!(cancelled.is_err(), "the connection dies with the process");
    assert_eq!(crashing.gone(), Some(86));
    assert_eq!(read_json(&config)["status"], "CANCELLING");
    let node = plan(&scratch, "b").start();
    let (status, answer) = node.post(path, json!({})).await;
    assert_eq!((status.as_u16(), &answer["status"]), (200, &json!("STARTED")));
    assert_eq!(node.delete(path).await.0, 204);
    assert_eq!(node.get(path).await.1["status"], "CANCELLING", "nothing ever happens");
    std::fs::remove_file(config).unwrap();
    assert_eq!(node.restore("b").await["status"], "SUCCESS");
}

#[tokio::test(flavor = "multi_thread")]
async fn success_can_lie() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    node.fill("Article", 9).await;
    node.fill("Author", 9).await;
    node.backup("b").await;
    let emptied = plan(&scratch, "b")
        .env("LIFEBOAT_NODE_RESTORE_EMPTIES", "Article")
        .env("LIFEBOAT_NODE_RESTORE_DROPS", "Author=2")
        .start();
    assert_eq!(emptied.restore("b").await["status"], "SUCCESS");
    assert_eq!((emptied.count("Article").await, emptied.count("Author").await), (0, 7));
    std::fs::create_dir_all(scratch.sub("c/article/leftover")).unwrap();
    let leftover = plan(&scratch, "c").env("LIFEBOAT_NODE_COUNT_OFFSET", "Author=-1").start();
    assert_eq!(leftover.restore("b").await["status"], "SUCCESS", "a failed rename is only logged");
    assert_eq!((leftover.count("Article").await, leftover.count("Author").await), (0, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_dies_leaves_its_status_and_may_be_repeated() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a").start();
    node.fill("Article", 5).await;
    node.backup("b").await;
    let path = "/v1/backups/filesystem/b/restore";
    for (step, left) in [("restore-chunk", "TRANSFERRING"), ("restore-class", "FINALIZING")] {
        let mut dying = plan(&scratch, "b").env("LIFEBOAT_NODE_CRASH_AT", step).start();
        let _ = reqwest::Client::new().post(format!("{}{path}", dying.url)).json(&json!({})).send().await;
        assert_eq!(dying.gone(), Some(86));
        let back = plan(&scratch, "b").start();
        assert_eq!(back.get(path).await.1["status"], left);
    }
    let back = plan(&scratch, "b").start();
    assert_eq!(back.restore("b").await["status"], "SUCCESS");
    assert_eq!(back.count("Article").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_and_boots_can_be_unwell() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "a")
        .env("LIFEBOAT_NODE_STATUS_500", "1")
        .env("LIFEBOAT_NODE_NOT_READY", "true")
        .env("LIFEBOAT_NODE_BLOCK_SECONDS", "0.5")
        .start();
    assert_eq!(node.get("/v1/.well-known/ready").await.0, 503);
    node.fill("Article", 1).await;
    let (status, answer) = node.post("/v1/backups/filesystem", json!({"id": "b"})).await;
    assert_eq!(status, 422);
    assert!(message(&answer).contains("startup window"), "{answer}");
    while node.post("/v1/backups/filesystem", json!({"id": "b"})).await.0 != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(node.get("/v1/backups/filesystem/b").await.0, 500);
    assert_eq!(node.finish("/v1/backups/filesystem/b").await["status"], "SUCCESS");
    let old = plan(&scratch, "b").env("LIFEBOAT_NODE_VERSION", "1.31.0").start();
    let (status, answer) = old.get("/v1/backups/filesystem").await;
    assert_eq!((status.as_u16(), message(&answer)), (500, "not implemented"));
}
