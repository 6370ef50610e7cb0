//! What every [`Bucket`] must do, in cases that the twin and the S3 adapter both pass. Each case works below its own
//! prefix, needs nothing to be there, and leaves its objects behind.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use futures::future::join_all;

use crate::ports::Bucket;
use crate::ports::bucket::{
    Listed, ListedVersion, Page, Pinned, PutMode, PutOutcome, ReadOutcome, VersionContent, VersionMarker,
};
use crate::ports::fault::{Happened, Retry};

const LIMIT: u64 = 1 << 20;

/// What the port itself cannot do, for the cases that need it.
pub trait Meddler: Sync {
    /// Overwrites a key unconditionally.
    fn overwrite(&self, key: &str, body: Vec<u8>) -> impl Future<Output = ()> + Send;
    /// Deletes a key: with versions, a delete marker becomes current.
    fn delete(&self, key: &str) -> impl Future<Output = ()> + Send;
}

/// Every case that the port alone can play. `versioned` says whether the store has versions.
///
/// # Panics
/// With what was expected, when the bucket does something else.
pub async fn bucket(bucket: &impl Bucket, prefix: &str, versioned: bool) {
    create_only_is_won_once(bucket, &format!("{prefix}create/")).await;
    swaps_race_and_nothing_is_lost(bucket, &format!("{prefix}race/")).await;
    conditions_that_do_not_hold_write_nothing(bucket, &format!("{prefix}conditions/")).await;
    limits_and_absence(bucket, &format!("{prefix}limits/")).await;
    listings_have_pages(bucket, &format!("{prefix}pages/"), 1003).await;
    versions_are_listed_newest_first(bucket, &format!("{prefix}versions/"), versioned).await;
    reads_are_pinned(bucket, &format!("{prefix}reads/"), versioned).await;
}

/// The cases that need somebody who goes round the port.
///
/// # Panics
/// As [`bucket`].
pub async fn bucket_meddled(bucket: &impl Bucket, meddler: &impl Meddler, prefix: &str, versioned: bool) {
    deleted_is_absent_and_may_be_created_again(bucket, meddler, &format!("{prefix}deleted/"), versioned).await;
    pinned_reads_notice_what_changed(bucket, meddler, &format!("{prefix}pinned/"), versioned).await;
}

async fn written(bucket: &impl Bucket, key: &str, body: &[u8], mode: PutMode) -> (String, Option<String>) {
    match bucket.put(key, body.to_vec(), mode).await.expect("the put is answered") {
        PutOutcome::Written { etag, version_id } => (etag, version_id),
        PutOutcome::Lost => panic!("{key}: the condition holds, so the put is written"),
    }
}

/// Of many creates of one key, one is written, and it is the one that is read.
pub async fn create_only_is_won_once(bucket: &impl Bucket, prefix: &str) {
    let key = format!("{prefix}once.json");
    let put = |n: usize| bucket.put(&key, format!("writer {n}").into_bytes(), PutMode::Create);
    let outcomes = join_all((0..16).map(put)).await;
    let winners: Vec<usize> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, o)| matches!(o, Ok(PutOutcome::Written { .. })))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(winners.len(), 1, "exactly one create wins: {outcomes:?}");
    let stored = bucket.get(&key, LIMIT).await.expect("answered").expect("there");
    assert_eq!(stored.body, format!("writer {}", winners[0]).into_bytes(), "the winner's bytes are there");
}

/// Sixteen writers each add one by compare-and-swap, at the same time; all sixteen are counted. Each writes bytes of
/// its own: equal bytes of two writers would be one write to both (see the port).
pub async fn swaps_race_and_nothing_is_lost(bucket: &impl Bucket, prefix: &str) {
    let key = format!("{prefix}counter.json");
    written(bucket, &key, b"0 nobody", PutMode::Create).await;
    let add_one = async |writer: usize| {
        loop {
            let stored = bucket.get(&key, LIMIT).await.expect("answered").expect("there");
            let text = String::from_utf8(stored.body).expect("text");
            let count: usize = text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
            let body = format!("{} {writer}", count + 1).into_bytes();
            match bucket.put(&key, body, PutMode::Update(stored.etag)).await {
                Ok(PutOutcome::Written { .. }) => return,
                Ok(PutOutcome::Lost) => {}
                // A conflict that did not settle: S3 asks to try again.
                Err(fault) => {
                    assert_eq!((fault.happened, fault.retry), (Happened::No, Retry::Yes), "{fault:?}");
                }
            }
        }
    };
    join_all((0..16).map(add_one)).await;
    let stored = bucket.get(&key, LIMIT).await.expect("answered").expect("there");
    assert!(stored.body.starts_with(b"16 "), "every addition counts: {:?}", String::from_utf8(stored.body));
}

/// A condition that does not hold is a lost race, on whatever key, and changes nothing.
pub async fn conditions_that_do_not_hold_write_nothing(bucket: &impl Bucket, prefix: &str) {
    let (key, absent) = (format!("{prefix}a.json"), format!("{prefix}absent.json"));
    let (first, _) = written(bucket, &key, b"one", PutMode::Create).await;
    let (second, _) = written(bucket, &key, b"two", PutMode::Update(first.clone())).await;
    assert_ne!(first, second, "other bytes have another ETag");
    for mode in [PutMode::Create, PutMode::Update(first.clone())] {
        let outcome = bucket.put(&key, b"three".to_vec(), mode.clone()).await.expect("answered");
        assert_eq!(outcome, PutOutcome::Lost, "{mode:?}");
    }
    let outcome = bucket.put(&absent, b"x".to_vec(), PutMode::Update(first)).await.expect("answered");
    assert_eq!(outcome, PutOutcome::Lost, "an update of a key that is not there is lost");
    assert_eq!(bucket.get(&absent, LIMIT).await.expect("answered"), None, "and creates nothing");
    let stored = bucket.get(&key, LIMIT).await.expect("answered").expect("there");
    assert_eq!((stored.body.as_slice(), stored.etag), (&b"two"[..], second.clone()), "the winner's bytes stay");
    // One's own retried write is recognised by its bytes; it is not a second version.
    if let PutOutcome::Written { etag, .. } =
        bucket.put(&key, b"two".to_vec(), PutMode::Create).await.expect("answered")
    {
        assert_eq!(etag, second, "recognised, not written again");
    }
}

/// Absence is an answer; an object over the limit is a fault for good, and its size is no secret.
pub async fn limits_and_absence(bucket: &impl Bucket, prefix: &str) {
    let key = format!("{prefix}ten");
    assert_eq!(bucket.get(&key, LIMIT).await.expect("answered"), None);
    assert_eq!(bucket.head(&key).await.expect("answered"), None);
    let (etag, version_id) = written(bucket, &key, &[7; 10], PutMode::Create).await;
    let stored = bucket.get(&key, 10).await.expect("ten bytes are allowed").expect("there");
    assert_eq!((stored.body.len(), &stored.etag, &stored.version_id), (10, &etag, &version_id));
    assert_eq!(stored.last_modified.subsec_nanosecond(), 0, "S3's dates are whole seconds");
    let fault = bucket.get(&key, 9).await.expect_err("nine are not enough");
    assert_eq!((fault.happened, fault.retry), (Happened::No, Retry::No), "{fault:?}");
    let head = bucket.head(&key).await.expect("answered").expect("there");
    assert_eq!(head, Listed { key, size_bytes: 10, etag, last_modified: stored.last_modified });
}

/// Listings give every key once, in byte order, in pages of at most 1,000, and start where they are told.
pub async fn listings_have_pages(bucket: &impl Bucket, prefix: &str, objects: usize) {
    let keys: Vec<String> = (0..objects).map(|n| format!("{prefix}{n:05}")).collect();
    let mut puts = futures::stream::iter(&keys)
        .map(|key| bucket.put(key, key.as_bytes().to_vec(), PutMode::Create))
        .buffer_unordered(16);
    while let Some(put) = puts.next().await {
        assert!(matches!(put, Ok(PutOutcome::Written { .. })), "{put:?}");
    }
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let Page { entries, more } = bucket.list(prefix, after.as_deref()).await.expect("answered");
        assert!(entries.len() <= 1000, "a page has at most 1,000 entries");
        assert!(!more || !entries.is_empty(), "a page that promises more has something");
        found.extend(entries.into_iter().map(|e| e.key));
        after = found.last().cloned();
        if !more {
            break;
        }
    }
    assert_eq!(found, keys, "every key once, in order");
    let page = bucket.list(prefix, Some(&keys[objects - 3])).await.expect("answered");
    let tail: Vec<&String> = page.entries.iter().map(|e| &e.key).collect();
    assert_eq!(tail, keys[objects - 2..].iter().collect::<Vec<_>>(), "after, and not from, the given key");
    let page = bucket.list(prefix, Some(&format!("{prefix}00000-not-there"))).await.expect("answered");
    assert_eq!(page.entries.first().map(|e| &e.key), keys.get(1), "the given key need not exist");
    let page = bucket.list(&format!("{prefix}none"), None).await.expect("answered");
    assert_eq!((page.entries.len(), page.more), (0, false), "nothing below an unknown prefix");
}

/// All versions and markers below a prefix, page by page.
async fn all_versions(bucket: &impl Bucket, prefix: &str) -> Vec<ListedVersion> {
    let (mut found, mut after) = (Vec::<ListedVersion>::new(), None::<VersionMarker>);
    loop {
        let page = bucket.list_versions(prefix, after.as_ref()).await.expect("answered");
        assert!(page.entries.len() <= 1000 && (!page.more || !page.entries.is_empty()));
        found.extend(page.entries);
        after = found.last().map(|v| VersionMarker { key: v.key.clone(), version_id: v.version_id.clone() });
        if !page.more {
            return found;
        }
    }
}

/// Keys in order, each key's versions newest first, exactly one of them the latest.
pub async fn versions_are_listed_newest_first(bucket: &impl Bucket, prefix: &str, versioned: bool) {
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    let (mut etag, mut ids) = (None, Vec::new());
    for n in 0..3 {
        let mode = etag.take().map_or(PutMode::Create, PutMode::Update);
        let (new, id) = written(bucket, &a, format!("{n}").as_bytes(), mode).await;
        etag = Some(new);
        ids.insert(0, id);
    }
    let (_, of_b) = written(bucket, &b, b"b", PutMode::Create).await;
    let found = all_versions(bucket, prefix).await;
    let seen: Vec<(&str, &Option<String>, bool)> =
        found.iter().map(|v| (v.key.as_str(), &v.version_id, v.is_latest)).collect();
    if versioned {
        let expected =
            [(a.as_str(), &ids[0], true), (&a, &ids[1], false), (&a, &ids[2], false), (b.as_str(), &of_b, true)];
        assert_eq!(seen, expected);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3, "each version has an id of its own");
        let middle = VersionMarker { key: a.clone(), version_id: ids[1].clone() };
        let page = bucket.list_versions(prefix, Some(&middle)).await.expect("answered");
        let rest: Vec<_> = page.entries.iter().map(|v| &v.version_id).collect();
        assert_eq!(rest, [&ids[2], &of_b], "a page may start within a key");
    } else {
        assert_eq!(seen, [(a.as_str(), &None, true), (b.as_str(), &None, true)]);
    }
    let current = found.iter().find(|v| v.key == a && v.is_latest).expect("one is the latest");
    let etag = etag.expect("written");
    assert_eq!(current.content, VersionContent::Object { size_bytes: 1, etag });
}

/// A pinned read gives exactly the range of exactly that object, and says what is not so.
pub async fn reads_are_pinned(bucket: &impl Bucket, prefix: &str, versioned: bool) {
    let (key, empty) = (format!("{prefix}object"), format!("{prefix}empty"));
    let (etag, version_id) = written(bucket, &key, b"0123456789", PutMode::Create).await;
    assert_eq!(version_id.is_some(), versioned, "versions are named where there are some");
    let pinned = Pinned { key: key.clone(), etag: etag.clone(), version_id };
    for (offset, length, expected) in [(0, 10, "0123456789"), (3, 4, "3456"), (9, 1, "9")] {
        let outcome = bucket.read(&pinned, offset, length).await.expect("answered");
        assert_eq!(outcome, ReadOutcome::Bytes(expected.as_bytes().to_vec()), "{offset}+{length}");
    }
    for (offset, length, received_bytes) in [(5, 10, 5), (0, 11, 10), (10, 1, 0), (50, 5, 0)] {
        let outcome = bucket.read(&pinned, offset, length).await.expect("answered");
        assert_eq!(outcome, ReadOutcome::WrongLength { received_bytes }, "{offset}+{length}");
    }
    let (of_empty, version_id) = written(bucket, &empty, b"", PutMode::Create).await;
    let nothing = Pinned { key: empty, etag: of_empty, version_id };
    let outcome = bucket.read(&nothing, 0, 0).await.expect("answered");
    assert_eq!(outcome, ReadOutcome::Bytes(Vec::new()), "an empty object is read as nothing");
    let other = Pinned { etag: nothing.etag.clone(), ..pinned.clone() };
    assert_eq!(bucket.read(&other, 0, 10).await.expect("answered"), ReadOutcome::Changed, "another ETag");
    let gone = Pinned { key: format!("{prefix}gone"), etag, version_id: None };
    assert_eq!(bucket.read(&gone, 0, 10).await.expect("answered"), ReadOutcome::Missing, "no such key");
    let (_, _) = written(bucket, &key, b"ABCDEFGHIJ", PutMode::Update(pinned.etag.clone())).await;
    let outcome = bucket.read(&pinned, 0, 10).await.expect("answered");
    if versioned {
        assert_eq!(outcome, ReadOutcome::Bytes(b"0123456789".to_vec()), "an older version stays readable");
    } else {
        assert_eq!(outcome, ReadOutcome::Changed);
    }
    let unpinned = Pinned { version_id: None, ..pinned };
    assert_eq!(bucket.read(&unpinned, 0, 10).await.expect("answered"), ReadOutcome::Changed, "without a version");
}

/// A deleted key is absent, its marker is the latest of its versions, and it may be created again.
pub async fn deleted_is_absent_and_may_be_created_again(
    bucket: &impl Bucket,
    meddler: &impl Meddler,
    prefix: &str,
    versioned: bool,
) {
    let key = format!("{prefix}a");
    let (etag, _) = written(bucket, &key, b"one", PutMode::Create).await;
    meddler.delete(&key).await;
    assert_eq!(bucket.get(&key, LIMIT).await.expect("answered"), None);
    assert_eq!(bucket.head(&key).await.expect("answered"), None);
    assert_eq!(bucket.list(prefix, None).await.expect("answered").entries, [], "it is not listed");
    let outcome = bucket.put(&key, b"two".to_vec(), PutMode::Update(etag)).await.expect("answered");
    assert_eq!(outcome, PutOutcome::Lost, "there is nothing to update");
    let before = all_versions(bucket, prefix).await;
    if versioned {
        assert_eq!(before.len(), 2);
        assert_eq!((&before[0].content, before[0].is_latest), (&VersionContent::DeleteMarker, true));
        assert!(!before[1].is_latest && matches!(before[1].content, VersionContent::Object { size_bytes: 3, .. }));
    } else {
        assert_eq!(before, []);
    }
    written(bucket, &key, b"three", PutMode::Create).await;
    let after = all_versions(bucket, prefix).await;
    assert_eq!(after.len(), before.len() + 1, "what was there before stays");
    assert!(after[0].is_latest && after[1..].iter().all(|v| !v.is_latest), "the new object is the latest");
}

/// A pinned read of the current object notices an overwrite and a deletion; one of a version does not mind them.
pub async fn pinned_reads_notice_what_changed(
    bucket: &impl Bucket,
    meddler: &impl Meddler,
    prefix: &str,
    versioned: bool,
) {
    let key = format!("{prefix}a");
    let (etag, version_id) = written(bucket, &key, b"one", PutMode::Create).await;
    let version = Pinned { key: key.clone(), etag: etag.clone(), version_id };
    let current = Pinned { version_id: None, ..version.clone() };
    meddler.overwrite(&key, b"two".to_vec()).await;
    assert_eq!(bucket.read(&current, 0, 3).await.expect("answered"), ReadOutcome::Changed);
    meddler.delete(&key).await;
    assert_eq!(bucket.read(&current, 0, 3).await.expect("answered"), ReadOutcome::Missing);
    let expected = if versioned { ReadOutcome::Bytes(b"one".to_vec()) } else { ReadOutcome::Missing };
    assert_eq!(bucket.read(&version, 0, 3).await.expect("answered"), expected);
    if versioned {
        let marker = all_versions(bucket, prefix).await.into_iter().next().expect("the marker is listed");
        let pinned = Pinned { key, etag, version_id: marker.version_id };
        assert_eq!(bucket.read(&pinned, 0, 3).await.expect("answered"), ReadOutcome::Missing, "a marker is no object");
    }
}
