//! Copies inside the store, and the SHA-256 that it keeps.

use lifeboat_domain::ids::Sha256Digest;

use super::{LIMIT, Place, Report, all_versions, created, got};
use crate::ports::Bucket;
use crate::ports::bucket::{CopyOutcome, Pinned};

pub(super) async fn play(place: &impl Place, prefix: &str, report: &mut Report) {
    let p = |name: &str| format!("{prefix}copies/{name}");
    report.case("a copy is the whole object, and its SHA-256 is answered and kept", copied(place, &p("copied"))).await;
    report
        .case("a copy of an upload in parts has a digest and an ETag of the whole", of_parts(place, &p("parts")))
        .await;
    report.case("an older version is copied by its id, a hidden one too", older(place, &p("older"))).await;
    report.case("a copy whose source is another object by now copies nothing", changed(place, &p("changed"))).await;
    report.case("a copy of nothing is missing", missing(place, &p("missing"))).await;
    report.case("a copy goes over what is there, as a version of its own", over(place, &p("over/"))).await;
    report.case("a SHA-256 is kept for writes that asked for one, and for no others", kept(place, &p("kept"))).await;
}

async fn copy(bucket: &impl Bucket, from: &Pinned, size_bytes: usize, to: &str) -> CopyOutcome {
    bucket.copy(from, size_bytes as u64, to).await.expect("answered")
}

/// A copy that succeeds: pinned, with the digest that was answered.
async fn made(bucket: &impl Bucket, from: &Pinned, size_bytes: usize, to: &str) -> (Pinned, Option<Sha256Digest>) {
    match copy(bucket, from, size_bytes, to).await {
        CopyOutcome::Copied { etag, version_id, sha256 } => (Pinned { key: to.to_owned(), etag, version_id }, sha256),
        other @ (CopyOutcome::Changed | CopyOutcome::Missing) => panic!("{other:?}"),
    }
}

async fn copied(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let from = created(&bucket, key, b"hello world").await;
    let to = format!("{key}-to ä+%2F&");
    let (copy, sha256) = made(&bucket, &from, 11, &to).await;
    let expected = Some(Sha256Digest::of(b"hello world"));
    assert_eq!((&sha256, &bucket.stored_sha256(&copy).await.expect("answered")), (&expected, &expected));
    assert_eq!(copy.version_id.is_some(), place.versioned());
    let stored = got(&bucket, &to).await;
    assert_eq!(
        (stored.body.as_slice(), &stored.etag, &stored.version_id),
        (&b"hello world"[..], &from.etag, &copy.version_id)
    );
}

async fn of_parts(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let parts = vec![vec![0; 5 << 20], vec![1; 9]];
    let whole = parts.concat();
    let etag = place.upload(key, parts).await;
    let version_id = all_versions(&bucket, key).await.0.remove(0).version_id;
    let from = Pinned { key: key.to_owned(), etag, version_id };
    let (copy, sha256) = made(&bucket, &from, whole.len(), &format!("{key}-to")).await;
    let expected = Some(Sha256Digest::of(&whole));
    assert_eq!((&sha256, &bucket.stored_sha256(&copy).await.expect("answered")), (&expected, &expected));
    // Of one piece on S3; a store that keeps the source's ETag is listed with its reason where that matters.
    assert!(copy.etag == crate::twins::etag_of(&whole) || copy.etag == from.etag, "{}", copy.etag);
    assert_eq!(bucket.stored_sha256(&from).await.expect("answered"), None, "its source has none");
}

async fn older(place: &impl Place, key: &str) {
    if !place.versioned() {
        return;
    }
    let bucket = place.writer();
    let old = created(&bucket, key, b"old").await;
    place.overwrite(key, b"new".to_vec()).await;
    made(&bucket, &old, 3, &format!("{key}-one")).await;
    place.delete(key).await;
    made(&bucket, &old, 3, &format!("{key}-two")).await;
    for to in ["one", "two"] {
        assert_eq!(got(&bucket, &format!("{key}-{to}")).await.body, b"old");
    }
}

async fn changed(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let old = created(&bucket, key, b"old").await;
    place.overwrite(key, b"new".to_vec()).await;
    let current = Pinned { version_id: None, ..old };
    let to = format!("{key}-to");
    assert_eq!(copy(&bucket, &current, 3, &to).await, CopyOutcome::Changed);
    assert_eq!(bucket.get(&to, LIMIT).await.expect("answered"), None, "nothing was copied");
}

async fn missing(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let there = created(&bucket, key, b"x").await;
    let to = format!("{key}-to");
    let nowhere = Pinned { key: format!("{key}-nowhere"), version_id: None, ..there.clone() };
    assert_eq!(copy(&bucket, &nowhere, 1, &to).await, CopyOutcome::Missing);
    place.delete(key).await;
    let current = Pinned { version_id: None, ..there.clone() };
    assert_eq!(copy(&bucket, &current, 1, &to).await, CopyOutcome::Missing, "deleted");
    if let Some(version) = &there.version_id {
        place.delete_version(key, version).await;
        assert_eq!(copy(&bucket, &there, 1, &to).await, CopyOutcome::Missing, "its version removed for good");
    }
    assert_eq!(bucket.get(&to, LIMIT).await.expect("answered"), None);
}

async fn over(place: &impl Place, prefix: &str) {
    let (bucket, from, to) = (place.writer(), format!("{prefix}from"), format!("{prefix}to"));
    let from = created(&bucket, &from, b"new").await;
    created(&bucket, &to, b"old").await;
    made(&bucket, &from, 3, &to).await;
    assert_eq!(got(&bucket, &to).await.body, b"new");
    let versions = all_versions(&bucket, &to).await.0.len();
    assert_eq!(versions, if place.versioned() { 2 } else { 1 });
}

async fn kept(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let ours = created(&bucket, key, b"x").await;
    let expected = Some(Sha256Digest::of(b"x"));
    assert_eq!(bucket.stored_sha256(&ours).await.expect("answered"), expected);
    assert_eq!(bucket.stored_sha256(&Pinned { version_id: None, ..ours.clone() }).await.expect("answered"), expected);
    place.overwrite(key, b"y".to_vec()).await;
    let stored = got(&bucket, key).await;
    let theirs = Pinned { key: key.to_owned(), etag: stored.etag, version_id: stored.version_id };
    assert_eq!(bucket.stored_sha256(&theirs).await.expect("answered"), None);
    let nowhere = Pinned { key: format!("{key}-nowhere"), version_id: None, ..theirs };
    assert_eq!(bucket.stored_sha256(&nowhere).await.expect("answered"), None);
    if place.versioned() {
        assert_eq!(bucket.stored_sha256(&ours).await.expect("answered"), expected, "of the older version");
    }
}
