//! The object store, as far as the manifest's safety rests on it.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::small::{SOON, events, stack};
use lifeboat_stack::Stack;

async fn put(stack: &Stack, key: &str, more: Value) -> Result<Result<Value, lifeboat_stack::ApiError>> {
    let mut request = json!({"Bucket": stack.output("BucketName")?, "Key": key, "Body": {"base64": "eA=="}});
    request.as_object_mut().context("request")?.extend(more.as_object().cloned().unwrap_or_default());
    stack.call("s3", "put_object", request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_descriptors_start_the_function_that_waits_for_them() -> Result<()> {
    let stack = stack().await?;
    for key in
        ["backups/a/chunk-1", "backup_config.json", "backups/a/backup_config.json.tmp", "drills/a/backup_config.json"]
    {
        put(&stack, key, json!({})).await??;
    }
    put(&stack, "backups/a/backup_config.json", json!({})).await??;
    stack
        .wait_for("the descriptor's event", SOON, || async { Ok((!events(&stack)?.is_empty()).then_some(())) })
        .await?;
    let seen = events(&stack)?;
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0]["detail"]["object"]["key"], "backups/a/backup_config.json");
    assert_eq!(seen[0]["detail"]["reason"], "PutObject");
    assert!(seen[0]["detail"]["object"]["version-id"].is_string());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_can_be_dropped_and_doubled() -> Result<()> {
    let stack = stack().await?;
    stack.s3_events(false).await?;
    put(&stack, "backups/a/backup_config.json", json!({})).await??;
    stack
        .wait_for("the drop", SOON, || async { Ok((stack.counts().await?["s3_events_dropped"] == 1).then_some(())) })
        .await?;
    stack.set_knobs(json!({"s3_events": true, "event_copies": 2})).await?;
    put(&stack, "backups/b/backup_config.json", json!({})).await??;
    stack.wait_for("both copies", SOON, || async { Ok((events(&stack)?.len() == 2).then_some(())) }).await?;
    assert!(events(&stack)?.iter().all(|e| e["detail"]["object"]["key"] == "backups/b/backup_config.json"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_writers_exactly_one_wins_under_either_condition() -> Result<()> {
    let stack = stack().await?;
    let s3 = aws_sdk_s3::Client::new(&stack.sdk_config().await);
    let bucket = stack.output("BucketName")?;
    for round in 0..10 {
        let key = format!("race-{round}");
        let mut etag = String::new();
        for condition in ["if-none-match", "if-match"] {
            let writers = (0..16).map(|writer| {
                let (put, etag) = (s3.put_object().bucket(bucket).key(&key), etag.clone());
                let put = put.body(format!("{condition} {writer}").into_bytes().into());
                let put = if condition == "if-match" { put.if_match(etag) } else { put.if_none_match("*") };
                tokio::spawn(put.send())
            });
            let mut won = Vec::new();
            for writer in writers.collect::<Vec<_>>() {
                match writer.await? {
                    Ok(done) => won.push(done.e_tag().context("etag")?.to_owned()),
                    Err(error) => assert_eq!(error.raw_response().map(|r| r.status().as_u16()), Some(412), "{error:?}"),
                }
            }
            assert_eq!(won.len(), 1, "round {round}, {condition}");
            etag = won.remove(0);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_answers_with_the_sha256_of_what_was_copied() -> Result<()> {
    let stack = stack().await?;
    let bucket = stack.output("BucketName")?;
    let s3 = aws_sdk_s3::Client::new(&stack.sdk_config().await);
    let body: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let expected = STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(&body));
    s3.put_object().bucket(bucket).key("from").body(body.into()).send().await?;
    let copied = s3
        .copy_object()
        .bucket(bucket)
        .key("to")
        .copy_source(format!("{bucket}/from"))
        .checksum_algorithm(aws_sdk_s3::types::ChecksumAlgorithm::Sha256)
        .send()
        .await?;
    let answered = copied.copy_object_result().and_then(|r| r.checksum_sha256()).map(str::to_owned);
    let head = s3
        .head_object()
        .bucket(bucket)
        .key("to")
        .checksum_mode(aws_sdk_s3::types::ChecksumMode::Enabled)
        .send()
        .await?;
    assert_eq!((answered.as_deref(), head.checksum_sha256()), (Some(expected.as_str()), Some(expected.as_str())));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_says_who_read_and_wrote_what() -> Result<()> {
    let stack = stack().await?;
    let bucket = stack.output("BucketName")?;
    let s3 = aws_sdk_s3::Client::new(&stack.sdk_config_as("somebody").await);
    s3.put_object().bucket(bucket).key("a b/ä").body(vec![7; 1000].into()).if_none_match("*").send().await?;
    let got = s3.get_object().bucket(bucket).key("a b/ä").range("bytes=10-19").send().await?.body.collect().await?;
    assert_eq!(got.into_bytes().len(), 10);
    let log: Vec<_> = stack.s3_access_log()?.into_iter().filter(|l| l.principal == "somebody").collect();
    assert_eq!(log.len(), 2, "{log:?}");
    assert_eq!((log[0].method.as_str(), log[0].key.as_str(), log[0].status), ("PUT", "a b/ä", 200));
    assert_eq!(log[0].if_none_match.as_deref(), Some("*"));
    assert!(log[0].bytes_in >= 1000 && log[0].version.is_some(), "{:?}", log[0]);
    assert_eq!((log[1].status, log[1].range.as_deref(), log[1].bytes_out), (206, Some("bytes=10-19"), 10));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_changes_the_bytes_and_nothing_that_a_listing_shows() -> Result<()> {
    let stack = stack().await?;
    let bucket = stack.output("BucketName")?;
    let s3 = aws_sdk_s3::Client::new(&stack.sdk_config().await);
    let put = s3.put_object().bucket(bucket).key("chunk").body(vec![0; 64].into()).send().await?;
    stack.tamper(bucket, "chunk", -1).await?;
    let version = put.version_id().context("version")?;
    // A reader that lets the SDK check S3's own checksum is warned; one that does not gets other bytes.
    let checked = s3.get_object().bucket(bucket).key("chunk").send().await?.body.collect().await;
    assert!(checked.is_err(), "the stored checksum should no longer fit");
    let unchecked = stack.sdk_config().await.into_builder();
    let unchecked =
        unchecked.response_checksum_validation(aws_sdk_s3::config::ResponseChecksumValidation::WhenRequired).build();
    let unchecked = aws_sdk_s3::Client::new(&unchecked);
    for id in [None, Some(version.to_owned())] {
        let got = unchecked.get_object().bucket(bucket).key("chunk").set_version_id(id).send().await?;
        assert_eq!((got.e_tag(), got.version_id()), (put.e_tag(), put.version_id()));
        let mut expected = vec![0; 64];
        expected[63] = 1;
        assert_eq!(got.body.collect().await?.to_vec(), expected);
    }
    Ok(())
}
