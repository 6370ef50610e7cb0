//! What of S3 the product rests on beside the port: copies with a checksum, and events.

use super::{CopyIf, CopyOutcome, Place, Report, all_versions, created, got, outcome, written};
use crate::ports::bucket::{Pinned, PutMode, PutOutcome};

/// SHA-256 of `hello world`, in base64.
const HELLO: &str = "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=";

pub(super) async fn play(place: &impl Place, prefix: &str, report: &mut Report) {
    let p = |name: &str| format!("{prefix}wire/{name}");
    let from = created(&place.writer(), &p("from"), b"hello world").await;
    // Whether copies can be played at all is found out by one that is nobody's case.
    if let Err(reason) = place.copy(&from, &p("probe"), None).await {
        for case in COPIES {
            report.not_run(case, reason.clone());
        }
    } else {
        report.case(COPIES[0], copied(place, &from, &p("to"))).await;
        report.case(COPIES[1], older_version(place, &p("older"))).await;
        report.case(COPIES[2], conditional(place, &p("conditional"))).await;
        report.case(COPIES[3], no_source(place, &p("nowhere"))).await;
    }
    const EVENTS: &str = "each write is told once, by its exact key, and nothing else is";
    match place.told(&p("events-none/"), "").await {
        Err(reason) => report.not_run(EVENTS, reason),
        Ok(_) => report.case(EVENTS, events(place, &p("events/"))).await,
    }
}

const COPIES: [&str; 4] = [
    "a copy answers and keeps the SHA-256 of what was copied, also of an upload in parts",
    "an older version is copied by its id",
    "a copy whose source is another object by now is refused",
    "a copy of nothing is missing",
];

async fn copy(place: &impl Place, from: &Pinned, to: &str, condition: Option<CopyIf>) -> CopyOutcome {
    place.copy(from, to, condition).await.expect("copies can be played here")
}

fn with(digest: &str) -> CopyOutcome {
    CopyOutcome::Copied { answered: Some(digest.to_owned()), stored: Some(digest.to_owned()) }
}

async fn copied(place: &impl Place, from: &Pinned, to: &str) {
    let bucket = place.writer();
    assert_eq!(copy(place, from, to, None).await, with(HELLO));
    let stored = got(&bucket, to).await;
    assert_eq!((stored.body.as_slice(), &stored.etag), (&b"hello world"[..], &from.etag));
    let source = format!("{to}-parts");
    let etag = place.upload(&source, vec![vec![0; 5 << 20], vec![1; 9]]).await;
    let version_id = all_versions(&bucket, &source).await.0.remove(0).version_id;
    let source = Pinned { key: source, etag, version_id };
    let CopyOutcome::Copied { answered, stored } = copy(place, &source, &format!("{to}-copy"), None).await else {
        panic!("it is there")
    };
    // SHA-256 of 5 MiB of zeros and nine ones.
    let digest = "2TgGsKgG1Huqq83JlplCCh14VPg2Qr0o0cP3XAeVXWQ=";
    assert_eq!((answered.as_deref(), stored.as_deref()), (Some(digest), Some(digest)), "of the whole, not of parts");
}

async fn older_version(place: &impl Place, key: &str) {
    if !place.versioned() {
        return;
    }
    let bucket = place.writer();
    let old = created(&bucket, key, b"hello world").await;
    written(&bucket, key, b"new", PutMode::Update(old.etag.clone())).await;
    let to = format!("{key}-copy");
    assert_eq!(copy(place, &old, &to, Some(CopyIf::SourceMatches(old.etag.clone()))).await, with(HELLO));
    place.delete(key).await;
    assert_eq!(copy(place, &old, &to, None).await, with(HELLO), "a marker does not hide it");
}

async fn conditional(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let old = created(&bucket, key, b"old").await;
    place.overwrite(key, b"new".to_vec()).await;
    let current = Pinned { version_id: None, ..old.clone() };
    let to = format!("{key}-copy");
    let condition = || Some(CopyIf::SourceMatches(old.etag.clone()));
    assert_eq!(copy(place, &current, &to, condition()).await, CopyOutcome::Changed);
    assert_eq!(crate::ports::Bucket::get(&bucket, &to, 99).await.expect("answered"), None, "nothing was copied");
}

async fn no_source(place: &impl Place, key: &str) {
    let nowhere = Pinned { key: key.to_owned(), etag: String::new(), version_id: None };
    assert_eq!(copy(place, &nowhere, &format!("{key}-copy"), None).await, CopyOutcome::Missing);
}

async fn events(place: &impl Place, prefix: &str) {
    let bucket = place.writer();
    let key = |name: &str| format!("{prefix}{name}");
    let a = created(&bucket, &key("a b+ä%2F&.json"), b"1").await;
    assert_eq!(outcome(&bucket, &a.key, b"2", PutMode::Create).await, PutOutcome::Lost, "tells nothing");
    written(&bucket, &a.key, b"3", PutMode::Update(a.etag.clone())).await;
    place.overwrite(&key("backups/x/backup_config.json"), b"4".to_vec()).await;
    place.upload(&key("parts"), vec![vec![0; 5 << 20], vec![1]]).await;
    place.delete(&key("parts")).await;
    place.overwrite(&key("empty"), vec![]).await;
    let last = key("last");
    created(&bucket, &last, b"").await;
    let mut told = place.told(prefix, &last).await.expect("events can be seen here");
    told.sort();
    let mut expected = vec![a.key.clone(), a.key, key("backups/x/backup_config.json"), key("parts"), key("empty"), last];
    expected.sort();
    assert_eq!(told, expected);
}
