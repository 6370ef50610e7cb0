//! Writes whose fate the network hides: what may be said of them, and what may not.

use super::{ATTEMPTS, Place, Report, Trouble, all_versions, got, outcome, written};
use crate::ports::Bucket;
use crate::ports::bucket::{PutMode, PutOutcome};
use crate::ports::fault::{Happened, Retry};

const CASES: [&str; 7] = [
    "a create whose reply was lost knows its own write",
    "an update whose reply was lost knows its own write",
    "a create whose replies are all lost may have happened, and a repetition is lost",
    "an update whose replies are all lost may have happened, and a repetition is lost",
    "a create that never arrived and was overtaken by the same bytes is not called its own",
    "a write that was written over before its retry is not called lost",
    "a body that was damaged on the way is refused",
];

pub(super) async fn play(place: &impl Place, prefix: &str, report: &mut Report) {
    if let Err(reason) = place.can_trouble() {
        CASES.iter().for_each(|case| report.not_run(case, reason.clone()));
        return;
    }
    let p = |name: &str| format!("{prefix}ambiguous/{name}");
    report.case(CASES[0], own_write(place, &p("create"), Mode::Create)).await;
    report.case(CASES[1], own_write(place, &p("update"), Mode::Update)).await;
    report.case(CASES[2], may_have_happened(place, &p("all-create"), Mode::Create)).await;
    report.case(CASES[3], may_have_happened(place, &p("all-update"), Mode::Update)).await;
    report.case(CASES[4], overtaken(place, &p("overtaken"))).await;
    report.case(CASES[5], written_over(place, &p("written-over"))).await;
    report.case(CASES[6], damaged(place, &p("damaged"))).await;
}

#[derive(Clone, Copy)]
enum Mode {
    Create,
    Update,
}

impl Mode {
    /// Makes the condition hold.
    async fn prepare(self, place: &impl Place, key: &str) -> PutMode {
        match self {
            Self::Create => PutMode::Create,
            Self::Update => PutMode::Update(written(&place.writer(), key, b"before", PutMode::Create).await.0),
        }
    }

    fn versions(self) -> usize {
        match self {
            Self::Create => 1,
            Self::Update => 2,
        }
    }
}

async fn assert_versions(place: &impl Place, key: &str, expected: usize) {
    if place.versioned() {
        assert_eq!(all_versions(&place.writer(), key).await.0.len(), expected, "versions of {key}");
    }
}

async fn own_write(place: &impl Place, key: &str, mode: Mode) {
    let condition = mode.prepare(place, key).await;
    let bucket = place.troubled(Trouble::ReplyLost { times: 1 }).await;
    let (etag, version_id) = written(&bucket, key, b"mine", condition).await;
    let stored = got(&place.writer(), key).await;
    assert_eq!((stored.body.as_slice(), stored.etag, stored.version_id), (&b"mine"[..], etag, version_id));
    assert_versions(place, key, mode.versions()).await;
}

async fn may_have_happened(place: &impl Place, key: &str, mode: Mode) {
    let condition = mode.prepare(place, key).await;
    let bucket = place.troubled(Trouble::ReplyLost { times: ATTEMPTS }).await;
    let fault = bucket.put(key, b"mine".to_vec(), condition.clone()).await.expect_err("nobody heard of it");
    assert_eq!((fault.happened, fault.retry), (Happened::Maybe, Retry::Yes), "{fault:?}");
    assert_eq!(got(&place.writer(), key).await.body, b"mine", "it did");
    let again = outcome(&place.writer(), key, b"mine", condition).await;
    assert_eq!(again, PutOutcome::Lost, "a repetition is another write");
    assert_versions(place, key, mode.versions()).await;
}

async fn overtaken(place: &impl Place, key: &str) {
    let bucket = place.troubled(Trouble::Overtaken { key: key.to_owned(), by: b"same".to_vec() }).await;
    match bucket.put(key, b"same".to_vec(), PutMode::Create).await {
        Ok(outcome) => assert_eq!(outcome, PutOutcome::Lost, "equal bytes, another's write"),
        // A retry cannot tell this from a write of its own that was written over.
        Err(fault) => assert_eq!((fault.happened, fault.retry), (Happened::Maybe, Retry::Yes), "{fault:?}"),
    }
    assert_eq!(got(&place.writer(), key).await.body, b"same");
    assert_versions(place, key, 1).await;
}

/// It was written, and is in the other's past: "nothing was written" would make a counter count twice.
async fn written_over(place: &impl Place, key: &str) {
    let bucket = place.troubled(Trouble::WrittenOver { key: key.to_owned(), by: b"another's".to_vec() }).await;
    match bucket.put(key, b"mine".to_vec(), PutMode::Create).await {
        Err(fault) => assert_eq!((fault.happened, fault.retry), (Happened::Maybe, Retry::Yes), "{fault:?}"),
        Ok(outcome) => panic!("nobody can know, but it says {outcome:?}"),
    }
    assert_eq!(got(&place.writer(), key).await.body, b"another's");
    assert_versions(place, key, 2).await;
}

async fn damaged(place: &impl Place, key: &str) {
    let bucket = place.troubled(Trouble::Damaged).await;
    let fault = bucket.put(key, b"mine".to_vec(), PutMode::Create).await.expect_err("S3 refuses damaged bytes");
    assert_eq!(fault.happened, Happened::No, "{fault:?}");
    assert_eq!(place.writer().get(key, 99).await.expect("answered"), None, "nothing was written");
}
