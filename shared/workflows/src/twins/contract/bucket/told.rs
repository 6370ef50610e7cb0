//! Events: what S3 tells of writes.

use super::{Place, Report, created, outcome, written};
use crate::ports::bucket::{PutMode, PutOutcome};

pub(super) async fn play(place: &impl Place, prefix: &str, report: &mut Report) {
    const EVENTS: &str = "each write is told once, by its exact key, and nothing else is";
    match place.can_tell() {
        Err(reason) => report.not_run(EVENTS, reason),
        Ok(()) => report.case(EVENTS, events(place, &format!("{prefix}events/"))).await,
    }
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
    let mut told = place.told(prefix, &last).await;
    told.sort();
    let mut expected =
        vec![a.key.clone(), a.key, key("backups/x/backup_config.json"), key("parts"), key("empty"), last];
    expected.sort();
    assert_eq!(told, expected);
}
