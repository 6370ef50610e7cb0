use lifeboat_domain::ids::Sha256Digest;
use lifeboat_domain::verify::T0Level;

use super::*;
use crate::twins::{Call, World};

/// A bucket with this many objects of a backup, and their catalogue.
fn filled(world: &World, backup_id: &BackupId, objects: usize) -> Vec<CatalogueRow> {
    let bucket = world.bucket();
    let row = |n: usize| {
        let key = Key::BackupObject(backup_id.clone(), format!("weaviate-0/C{:03}/chunk-{n}", n % 100)).to_string();
        let body = n.to_be_bytes().to_vec();
        let (size_bytes, sha256, etag) = (body.len() as u64, Sha256Digest::of(&body), crate::twins::etag_of(&body));
        let version_id = Some(bucket.put_raw(&key, body));
        CatalogueRow { key, size_bytes, sha256, etag, version_id }
    };
    let mut rows: Vec<CatalogueRow> = (0..objects).map(row).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn t0_of_a_hundred_thousand_objects_takes_a_listing_request_for_each_thousand_versions_and_one_more() {
    let (world, backup_id) = (World::new(), BackupId::parse("b").unwrap());
    let mut rows = filled(&world, &backup_id, 100_000);
    // Versions beside the current ones count too: some objects were uploaded twice, a restore left its descriptor.
    for row in rows.iter_mut().step_by(40) {
        let body = world.bucket().bytes(&row.key).unwrap();
        row.version_id = Some(world.bucket().put_raw(&row.key, body));
    }
    world.bucket().put_raw("backups/b/restore_config.json", b"{}".to_vec());
    let versions: usize = 100_000 + 2_500 + 1;
    let before = world.calls().len();
    let outcome = t0_of(&world.bucket(), &backup_id, &rows).await.unwrap();
    assert!(outcome.passed() && outcome.level == T0Level::Full, "{:?}", outcome.findings.first());
    let calls = world.calls().split_off(before);
    assert!(calls.iter().all(|c| c.call == Call::ListVersions), "no object is read");
    assert!(calls.len() <= versions.div_ceil(1000) + 1, "{} requests", calls.len());
    assert_eq!((outcome.listing_pages as usize, outcome.objects), (calls.len(), 100_000));
    assert_eq!(outcome.summary().findings, 0);

    world.bucket().put_raw(&rows[77_777].key, b"overwritten".to_vec());
    world.bucket().delete(&rows[5].key);
    let outcome = t0_of(&world.bucket(), &backup_id, &rows).await.unwrap();
    assert_eq!((outcome.findings.len(), outcome.healable()), (2, true));
}

#[tokio::test]
async fn t0_on_a_store_without_versions_says_that_it_is_weak() {
    let (world, backup_id) = (World::new(), BackupId::parse("b").unwrap());
    world.set(|settings| settings.versioned = false);
    let mut rows = filled(&world, &backup_id, 3);
    rows.iter_mut().for_each(|row| row.version_id = None);
    let outcome = t0_of(&world.bucket(), &backup_id, &rows).await.unwrap();
    assert!(outcome.passed());
    assert_eq!(serde_json::to_value(outcome.summary().level).unwrap(), "weak");
    world.bucket().put_raw(&rows[1].key, b"other".to_vec());
    assert!(
        !t0_of(&world.bucket(), &backup_id, &rows).await.unwrap().healable(),
        "there is no older version to heal from"
    );
}
