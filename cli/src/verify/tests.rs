use lifeboat_workflows::twins::World;

use super::*;
use crate::twin_backup::{BACKUP, published};

async fn verify(world: &World, quick: bool, json: bool) -> (u8, String) {
    let backup_id = BackupId::parse(BACKUP).unwrap();
    let asked = Asked { backup_id, quick, json, policy: Policy::default() };
    let mut out = Vec::new();
    let code = run(&world.bucket(), &asked, &mut Printer { out: &mut out, err: &mut Vec::new() }).await.unwrap();
    (code, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn a_backup_that_nobody_touched_is_whole() {
    let world = published().await;
    insta::assert_snapshot!("whole", verify(&world, false, false).await.1);
    insta::assert_snapshot!("whole_quick", verify(&world, true, false).await.1);
    insta::assert_snapshot!("whole_json", verify(&world, false, true).await.1);
    assert_eq!(verify(&world, false, false).await.0, WHOLE);
}

#[tokio::test]
async fn a_bit_that_flipped_at_rest_is_found_by_reading_and_not_by_listing() {
    let world = published().await;
    world.bucket().flip_byte_in_place(&format!("backups/{BACKUP}/weaviate-0/Article/chunk-1"), 9);
    assert_eq!(verify(&world, true, false).await.0, WHOLE, "T0 reads nothing");
    let (code, text) = verify(&world, false, false).await;
    assert_eq!(code, NOT_WHOLE);
    insta::assert_snapshot!("not_whole", text);
}

#[tokio::test]
async fn what_was_overwritten_or_rewritten_is_found_by_listing_alone() {
    type Damage<'d> = (&'d str, &'d dyn Fn(&World));
    let cases: [Damage; 3] = [
        ("overwritten", &|w| drop(w.bucket().put_raw(&format!("backups/{BACKUP}/weaviate-0/backup.json"), "{}"))),
        ("digest", &|w| drop(w.bucket().put_raw(&format!("manifests/{BACKUP}/objects.ndjson"), "{}"))),
        ("does not exist", &|w| w.bucket().delete(&format!("manifests/{BACKUP}/manifest.json"))),
    ];
    for (says, damage) in cases {
        let world = published().await;
        damage(&world);
        let (code, text) = verify(&world, true, false).await;
        assert!(code == NOT_WHOLE && text.starts_with("NOT WHOLE") && text.contains(says), "{says}: {text}");
        let (code, json) = verify(&world, true, true).await;
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(code == NOT_WHOLE && value["whole"] == false, "{says}: {json}");
    }
}

#[tokio::test]
async fn sums_that_were_edited_are_found() {
    let world = published().await;
    world.bucket().put_raw(&format!("manifests/{BACKUP}/SHA256SUMS"), "nothing");
    let (code, text) = verify(&world, false, false).await;
    assert!(code == NOT_WHOLE && text.contains("SHA256SUMS"), "{text}");
}

#[tokio::test]
async fn a_bucket_without_an_answer_is_no_verdict() {
    let world = published().await;
    for _ in 0..20 {
        world.fail_next(
            lifeboat_workflows::twins::Call::Read,
            "Article/chunk-1",
            lifeboat_workflows::twins::Failure::Denied,
        );
    }
    let (code, text) = verify(&world, false, false).await;
    assert_eq!(code, UNKNOWN, "{text}");
    assert!(text.starts_with("UNKNOWN") && text.contains("Article/chunk-1"), "{text}");
}
