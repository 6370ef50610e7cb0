//! Compare-and-swap: one wins, nothing is lost, what does not hold writes nothing.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::{LIMIT, Place, Report, all_versions, created, got, outcome, written};
use crate::ports::bucket::{Listed, PutMode, PutOutcome};
use crate::ports::fault::{Happened, Retry};
use crate::ports::{Bucket, Fault};

/// How many write at once.
const WRITERS: usize = 16;

pub(super) async fn play(place: &impl Place, prefix: &str, report: &mut Report) {
    let p = |name: &str| format!("{prefix}conditions/{name}");
    report.case("of sixteen creates one is written and it is the one that is read", one_create(place, &p("one"))).await;
    report
        .case("of sixteen creates of the same bytes one is written", one_create_of_equal_bytes(place, &p("equal")))
        .await;
    report.case("of sixteen updates of one ETag one is written", one_update(place, &p("update"))).await;
    report.case("sixteen writers count and nothing is lost", count(place, &p("count"))).await;
    report.case("sixteen writers append and every line is there once", append(place, &p("append"))).await;
    report.case("creates race with deletions and each life begins once", lives(place, &p("lives/"))).await;
    report.case("a condition that does not hold writes nothing", nothing_written(place, &p("nothing/"))).await;
    report.case("an update of a key that was never there is lost", no_key(place, &p("no-key"))).await;
    report.case("an ETag that came back holds again", aba(place, &p("aba"))).await;
    report.case("absence is an answer and a limit a fault for good", limits(place, &p("limits"))).await;
    report.case("what is written is read, headed and listed at once", at_once(place, &p("at-once/"))).await;
}

async fn one_create(place: &impl Place, key: &str) {
    let won = race(place, key, &PutMode::Create, |n| format!("writer {n}")).await;
    assert_eq!(got(&place.writer(), key).await.body, format!("writer {won}").into_bytes(), "the winner's bytes");
}

/// As many writers as there are texts put them at once; exactly one is written: which.
async fn race(place: &impl Place, key: &str, mode: &PutMode, texts: impl Fn(usize) -> String) -> usize {
    let writers: Vec<_> = (0..WRITERS).map(|_| place.writer()).collect();
    let puts = writers.iter().enumerate().map(|(n, writer)| writer.put(key, texts(n).into_bytes(), mode.clone()));
    let outcomes = join_all(puts).await;
    let won = |o: &Result<PutOutcome, Fault>| matches!(o, Ok(PutOutcome::Written { .. }));
    let winners: Vec<usize> = outcomes.iter().enumerate().filter(|(_, o)| won(o)).map(|(n, _)| n).collect();
    assert_eq!(winners.len(), 1, "exactly one wins: {outcomes:?}");
    winners[0]
}

async fn one_create_of_equal_bytes(place: &impl Place, key: &str) {
    race(place, key, &PutMode::Create, |_| "same".to_owned()).await;
    if place.versioned() {
        assert_eq!(all_versions(&place.writer(), key).await.0.len(), 1, "and one version is there");
    }
}

async fn one_update(place: &impl Place, key: &str) {
    let mut etag = created(&place.writer(), key, b"0").await.etag;
    for round in 0..3 {
        let won = race(place, key, &PutMode::Update(etag), |n| format!("{round} {n}")).await;
        let stored = got(&place.writer(), key).await;
        assert_eq!(stored.body, format!("{round} {won}").into_bytes());
        etag = stored.etag;
    }
}

/// Changes a text by compare-and-swap until that is written.
async fn swap(bucket: &impl Bucket, key: &str, change: impl Fn(&str) -> String) {
    loop {
        let stored = got(bucket, key).await;
        let text = String::from_utf8(stored.body).expect("text");
        match bucket.put(key, change(&text).into_bytes(), PutMode::Update(stored.etag)).await {
            Ok(PutOutcome::Written { .. }) => return,
            Ok(PutOutcome::Lost) => {}
            // A conflict that did not settle: S3 asks to try again.
            Err(fault) => assert_eq!((fault.happened, fault.retry), (Happened::No, Retry::Yes), "{fault:?}"),
        }
    }
}

async fn count(place: &impl Place, key: &str) {
    created(&place.writer(), key, b"0 nobody").await;
    let add = async |writer: usize| {
        let bucket = place.writer();
        let more = |text: &str| {
            let count: usize = text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
            format!("{} {writer}", count + 1)
        };
        swap(&bucket, key, more).await;
    };
    join_all((0..WRITERS).map(add)).await;
    let text = String::from_utf8(got(&place.writer(), key).await.body).expect("text");
    assert!(text.starts_with("16 "), "every addition counts, once: {text}");
    if place.versioned() {
        assert_eq!(all_versions(&place.writer(), key).await.0.len(), WRITERS + 1, "as many versions as writes");
    }
}

async fn append(place: &impl Place, key: &str) {
    created(&place.writer(), key, b"").await;
    let add = async |writer: usize| {
        let bucket = place.writer();
        for line in 0..2 {
            swap(&bucket, key, |text| format!("{text}{writer}/{line}\n")).await;
        }
    };
    join_all((0..WRITERS).map(add)).await;
    let text = String::from_utf8(got(&place.writer(), key).await.body).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 * WRITERS, "{lines:?}");
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len(), "no line twice: {lines:?}");
}

/// A key that is deleted again and again while many create it: after each deletion one create at most is written.
async fn lives(place: &impl Place, prefix: &str) {
    let key = format!("{prefix}a");
    for life in 0..3 {
        race(place, &key, &PutMode::Create, |n| format!("{life} {n}")).await;
        place.delete(&key).await;
    }
    let expected = if place.versioned() { 6 } else { 0 };
    assert_eq!(all_versions(&place.writer(), prefix).await.0.len(), expected, "an object and a marker a life");
}

async fn nothing_written(place: &impl Place, prefix: &str) {
    let (bucket, key) = (place.writer(), format!("{prefix}a.json"));
    let (first, _) = written(&bucket, &key, b"one", PutMode::Create).await;
    let (second, version) = written(&bucket, &key, b"two", PutMode::Update(first.clone())).await;
    assert_ne!(first, second, "other bytes have another ETag");
    for mode in [PutMode::Create, PutMode::Update(first), PutMode::Update("\"0\"".to_owned())] {
        assert_eq!(outcome(&bucket, &key, b"three", mode.clone()).await, PutOutcome::Lost, "{mode:?}");
        assert_eq!(outcome(&bucket, &key, b"two", mode.clone()).await, PutOutcome::Lost, "the same bytes, {mode:?}");
    }
    let stored = got(&bucket, &key).await;
    assert_eq!((stored.body.as_slice(), stored.etag, stored.version_id), (&b"two"[..], second, version));
    if place.versioned() {
        assert_eq!(all_versions(&bucket, prefix).await.0.len(), 2);
    }
}

async fn no_key(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let other = created(&bucket, &format!("{key}-other"), b"x").await;
    assert_eq!(outcome(&bucket, key, b"x", PutMode::Update(other.etag)).await, PutOutcome::Lost);
    assert_eq!(bucket.get(key, LIMIT).await.expect("answered"), None, "and nothing is created");
}

/// An ETag is a digest of bytes, not a version: whoever must tell them apart writes something of their own.
async fn aba(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let (a, _) = written(&bucket, key, b"a", PutMode::Create).await;
    let (b, _) = written(&bucket, key, b"b", PutMode::Update(a.clone())).await;
    let (again, _) = written(&bucket, key, b"a", PutMode::Update(b)).await;
    assert_eq!(a, again, "equal bytes have equal ETags");
    written(&bucket, key, b"c", PutMode::Update(a)).await;
}

async fn limits(place: &impl Place, key: &str) {
    let bucket = place.writer();
    assert_eq!(bucket.get(key, LIMIT).await.expect("answered"), None);
    assert_eq!(bucket.head(key).await.expect("answered"), None);
    let (etag, version_id) = written(&bucket, key, &[7; 10], PutMode::Create).await;
    assert_eq!(version_id.is_some(), place.versioned(), "versions are named where there are some");
    let stored = bucket.get(key, 10).await.expect("ten bytes are allowed").expect("there");
    assert_eq!((stored.body.len(), &stored.etag, &stored.version_id), (10, &etag, &version_id));
    assert_eq!(stored.last_modified.subsec_nanosecond(), 0, "S3's dates are whole seconds");
    let fault = bucket.get(key, 9).await.expect_err("nine are not enough");
    assert_eq!((fault.happened, fault.retry), (Happened::No, Retry::No), "{fault:?}");
    let head = bucket.head(key).await.expect("answered").expect("there");
    assert_eq!(head, Listed { key: key.to_owned(), size_bytes: 10, etag, last_modified: stored.last_modified });
}

async fn at_once(place: &impl Place, prefix: &str) {
    let (one, two, key) = (place.writer(), place.writer(), format!("{prefix}a"));
    let mut mode = PutMode::Create;
    for n in 0..10_usize {
        let (etag, _) = written(&one, &key, &vec![b'x'; n], mode).await;
        let listed = two.list(prefix, None).await.expect("answered").entries;
        let head = two.head(&key).await.expect("answered").expect("there");
        assert_eq!(listed, std::slice::from_ref(&head));
        assert_eq!((head.size_bytes, &head.etag), (n as u64, &etag));
        let stored = got(&two, &key).await;
        assert_eq!((stored.body.len(), &stored.etag, stored.last_modified), (n, &etag, head.last_modified));
        mode = PutMode::Update(etag);
    }
}
