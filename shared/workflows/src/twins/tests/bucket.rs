use std::time::Duration;

use super::super::*;
use crate::ports::Bucket;
use crate::ports::bucket::{Pinned, PutMode, PutOutcome, ReadOutcome, VersionContent};
use crate::ports::fault::{Happened, Retry};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_tasks_that_count_by_compare_and_swap_lose_nothing() {
    let world = World::new();
    world.bucket().put_raw("n", "0 nobody");
    let tasks: Vec<_> = (0..16)
        .map(|writer| {
            let bucket = world.bucket();
            tokio::spawn(async move {
                loop {
                    let stored = bucket.get("n", 99).await.unwrap().unwrap();
                    let text = String::from_utf8(stored.body).unwrap();
                    let count: u32 = text.split(' ').next().unwrap().parse().unwrap();
                    let body = format!("{} {writer}", count + 1).into_bytes();
                    if bucket.put("n", body, PutMode::Update(stored.etag)).await.unwrap() != PutOutcome::Lost {
                        break;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(world.bucket().bytes("n").unwrap().starts_with(b"16 "));
    assert_eq!(world.bucket().versions("n"), 17);
}

#[tokio::test]
async fn of_two_writers_of_equal_bytes_one_wins_unless_the_adapter_only_compares_bytes() {
    let world = World::new();
    let bucket = world.bucket();
    let first = bucket.put("k", b"same".to_vec(), PutMode::Create).await.unwrap();
    assert_eq!(bucket.put("k", b"same".to_vec(), PutMode::Create).await.unwrap(), PutOutcome::Lost);
    world.set(|s| s.identical_put_counts_as_written = true);
    assert_eq!(bucket.put("k", b"same".to_vec(), PutMode::Create).await.unwrap(), first);
    assert_eq!(bucket.versions("k"), 1);
}

#[tokio::test]
async fn a_flipped_byte_keeps_etag_version_and_date_and_is_read() {
    let world = World::new();
    let bucket = world.bucket();
    let version = bucket.put_multipart("k", "abc");
    let before = bucket.head("k").await.unwrap().unwrap();
    bucket.flip_byte_in_place("k", 1);
    assert_eq!(bucket.head("k").await.unwrap().unwrap(), before);
    let pinned = Pinned { key: "k".into(), etag: before.etag, version_id: Some(version) };
    assert_eq!(bucket.read(&pinned, 0, 3).await.unwrap(), ReadOutcome::Bytes(b"acc".to_vec()));
}

#[test]
fn etags_are_what_s3_makes_of_one_put_and_of_parts() {
    // printf '' | md5sum; and the MD5 of that digest's sixteen bytes.
    assert_eq!(etag_of(b""), "\"d41d8cd98f00b204e9800998ecf8427e\"");
    assert_eq!(multipart_etag_of(b""), "\"59adb24ef3cdbe0297f05b395827453f-1\"");
    assert!(multipart_etag_of(&vec![0; PART_BYTES]).ends_with("-1\""));
    assert!(multipart_etag_of(&vec![0; PART_BYTES + 1]).ends_with("-2\""));
}

#[tokio::test]
async fn dates_are_whole_seconds_of_the_worlds_clock() {
    let world = World::new();
    assert_eq!(world.now().to_string(), "2026-11-20T12:00:00Z");
    world.advance(Duration::from_millis(1999));
    world.bucket().put_raw("k", "x");
    let stored = world.bucket().get("k", 9).await.unwrap().unwrap();
    assert_eq!(stored.last_modified.to_string(), "2026-11-20T12:00:01Z");
}

#[tokio::test]
async fn erasing_leaves_no_trace_and_deleting_leaves_a_marker() {
    let bucket = World::new().bucket();
    bucket.put_raw("a", "1");
    bucket.put_raw("b", "1");
    bucket.delete("a");
    bucket.erase("b");
    let versions = bucket.list_versions("", None).await.unwrap().entries;
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[0].content, VersionContent::DeleteMarker);
    assert!(versions.iter().all(|v| v.key == "a"));
}

#[tokio::test]
async fn scripted_failures_say_whether_it_happened_and_a_lost_reply_did() {
    let world = World::new();
    let bucket = world.bucket();
    for (failure, happened, retry, there) in [
        (Failure::Unreachable, Happened::No, Retry::Yes, false),
        (Failure::Throttled, Happened::No, Retry::Throttled, false),
        (Failure::Denied, Happened::No, Retry::No, false),
        (Failure::ReplyLost, Happened::Maybe, Retry::Yes, true),
    ] {
        world.fail_next(Call::Put, "k", failure);
        bucket.put("other", b"x".to_vec(), PutMode::Create).await.unwrap();
        let fault = bucket.put("k", b"x".to_vec(), PutMode::Create).await.unwrap_err();
        assert_eq!((fault.happened, fault.retry, bucket.bytes("k").is_some()), (happened, retry, there));
        bucket.erase("other");
    }
    world.cut_next_read("k");
    let stored = bucket.get("k", 9).await.unwrap().unwrap();
    let pinned = Pinned { key: "k".into(), etag: stored.etag, version_id: stored.version_id };
    assert_eq!(bucket.read(&pinned, 0, 1).await.unwrap(), ReadOutcome::WrongLength { received_bytes: 0 });
    assert_eq!(bucket.read(&pinned, 0, 1).await.unwrap(), ReadOutcome::Bytes(b"x".to_vec()));
    assert_eq!((world.count(Call::Put), world.count_on(Call::Put, "other")), (8, 4));
}

#[tokio::test]
async fn created_objects_are_events_that_can_be_taken_doubled_and_shuffled() {
    let world = World::new();
    world.bucket().put_raw("a", "1");
    world.bucket_named("markers").put_raw("indexing/wiki/_SUCCESS", "");
    world.bucket().put("b", b"2".to_vec(), PutMode::Create).await.unwrap();
    world.bucket().put("b", b"3".to_vec(), PutMode::Create).await.unwrap();
    let events = world.take_events();
    let keys: Vec<String> = events.iter().map(|e| e.json()["detail"]["object"]["key"].to_string()).collect();
    assert_eq!(keys, ["\"a\"", "\"indexing/wiki/_SUCCESS\"", "\"b\""], "a lost put makes no event");
    assert_eq!(world.take_events(), []);
    world.bucket().put_raw("c", "1");
    assert_eq!((world.take_events().len(), world.events().len()), (1, 4));
    for event in &events {
        assert_eq!(lifeboat_domain::event::parse(&event.json()), Ok(event.hint()));
    }
    let doubled = shuffled(7, [events.clone(), events.clone()].concat());
    assert_eq!(doubled.len(), 6);
    assert_eq!(doubled, shuffled(7, [events.clone(), events.clone()].concat()), "the seed decides");
    assert!((0..20).any(|seed| shuffled(seed, events.clone()) != events));
}
