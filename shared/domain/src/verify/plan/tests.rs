use super::*;
use crate::verify::sample::id;

fn object(n: u64, size_bytes: u64) -> ShardObject {
    ShardObject { key: format!("backups/b/k{n:07}"), size_bytes, etag: "e".into(), version_id: Some(format!("v{n}")) }
}

/// An LCG by Knuth; the seed is in every message.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn every_object_is_in_exactly_one_of_at_most_a_thousand_shards_whatever_the_order_of_the_listing() {
    for seed in 0..40u64 {
        let mut state = seed;
        let count = random(&mut state) % 3000;
        let scale = 1u64 << (random(&mut state) % 34);
        let objects: Vec<ShardObject> = (0..count).map(|n| object(n, random(&mut state) % scale)).collect();
        let shards = plan(&id("b"), objects.clone(), Limits::default()).unwrap();
        assert!(shards.len() as u64 <= SHARDS_MAX, "seed {seed}");
        let planned: Vec<ShardObject> = shards.iter().flat_map(|s| s.objects.clone()).collect();
        assert_eq!(planned, objects, "seed {seed}");
        assert!(shards.iter().all(|s| !s.objects.is_empty() && s.of as usize == shards.len()), "seed {seed}");
        let reversed = objects.iter().rev().cloned().collect();
        assert_eq!(plan(&id("b"), reversed, Limits::default()).unwrap(), shards, "seed {seed}");
    }
}

#[test]
fn a_million_tiny_objects_are_spread_because_requests_take_their_time_too() {
    let shards = plan(&id("b"), (0..1_000_000).map(|n| object(n, 217)).collect(), Limits::default()).unwrap();
    assert!(shards.len() > 400, "{}", shards.len());
    assert!(shards.iter().all(|s| s.objects.len() <= 2_100));
}

#[test]
fn what_one_invocation_cannot_read_is_refused_with_the_setting_that_helps() {
    let limits = Limits { rate_bytes_per_second: 10 << 20, seconds: 100 };
    let most = 1000 << 20;
    assert_eq!((limits.object_bytes_max(), Limits::default().object_bytes_max() >> 30), (most, 41));
    let findings = plan(&id("b"), vec![object(1, most + 1)], limits).unwrap_err();
    let text = findings[0].to_string();
    assert!(text.contains("BACKUP_SPLIT_FILE_SIZE=256MiB") && text.contains("VerifyRateMiB"), "{text}");
    assert!(plan(&id("b"), vec![object(1, most)], limits).is_ok());
    assert!(plan(&id("b"), vec![object(1, most + 1)], Limits { seconds: 101, ..limits }).is_ok());
    let huge = (0..1001).map(|n| object(n, most)).collect();
    assert!(matches!(plan(&id("b"), huge, limits).unwrap_err()[..], [Finding::BackupTooLarge { .. }]));
}

#[test]
fn no_shard_is_more_than_one_invocation_reads_also_when_a_large_object_ends_it() {
    let limits = Limits { rate_bytes_per_second: 1 << 20, seconds: 300 };
    let objects: Vec<ShardObject> =
        (0..100).map(|n| object(n, if n % 2 == 0 { 100 << 20 } else { 299 << 20 })).collect();
    let shards = plan(&id("b"), objects.clone(), limits).unwrap();
    assert!(shards.iter().all(|s| s.size_bytes() <= limits.object_bytes_max()));
    let planned: Vec<ShardObject> = shards.iter().flat_map(|s| s.objects.clone()).collect();
    assert_eq!(planned, objects);
    assert!(shards.iter().enumerate().all(|(n, s)| s.index as usize == n && s.of as usize == shards.len()));
}

#[test]
fn shards_are_of_256_mib_or_of_a_thousandth_of_the_whole() {
    let sized = |count: u64, mib: u64| {
        let shards = plan(&id("b"), (0..count).map(|n| object(n, mib << 20)).collect(), Limits::default()).unwrap();
        let largest = shards.iter().map(Shard::size_bytes).max().unwrap() >> 20;
        (shards.len(), largest)
    };
    assert_eq!(sized(64, 64), (16, 256), "4 GiB");
    assert_eq!(sized(8, 16), (1, 128), "less than a shard");
    // 12 TB in objects of 128 MiB: a thousandth is 11,444 MiB.
    let (shards, largest) = sized(89_407, 128);
    assert!((990..=1000).contains(&shards) && largest < 11_700, "{shards} shards of {largest} MiB");
}

fn answered(shards: &[Shard]) -> Vec<Part> {
    let row = |o: &ShardObject| CatalogueRow {
        key: o.key.clone(),
        size_bytes: o.size_bytes,
        sha256: Sha256Digest::of(o.key.as_bytes()),
        etag: o.etag.clone(),
        version_id: o.version_id.clone(),
    };
    let part = |s: &Shard| Part {
        backup_id: s.backup_id.clone(),
        index: s.index,
        of: s.of,
        plan_sha256: s.plan_sha256.clone(),
        rows: s.objects.iter().map(row).collect(),
        findings: Vec::new(),
        notes: Vec::new(),
    };
    shards.iter().map(part).collect()
}

#[test]
fn parts_fold_only_when_each_object_is_answered_exactly_once_as_pinned() {
    let objects: Vec<ShardObject> = (0..6).map(|n| object(n, SHARD_COST_BYTES_MIN / 2)).collect();
    let shards = plan(&id("b"), objects, Limits::default()).unwrap();
    assert!(shards.len() >= 3);
    let parts = answered(&shards);
    let whole = fold(&id("b"), &shards, &parts);
    assert_eq!((whole.rows.len(), whole.findings), (6, vec![]));

    type Damage = fn(&mut Vec<Shard>, &mut Vec<Part>);
    let damages: Vec<(&str, Damage)> = vec![
        ("number of parts", |_, p| drop(p.pop())),
        ("number of parts", |s, p| (s.clear(), p.clear()).1),
        ("of another plan", |_, p| p.swap(0, 1)),
        ("of another plan", |_, p| p[1].plan_sha256 = Sha256Digest::of(b"")),
        ("of another plan", |_, p| p[1].backup_id = id("other")),
        ("of another plan", |s, _| s[0].objects[0].size_bytes += 1),
        ("is not answered", |_, p| drop(p[0].rows.pop())),
        ("not as pinned", |_, p| p[0].rows[0].version_id = Some("other".into())),
        ("not as pinned", |_, p| p[0].rows[0].size_bytes += 1),
        ("not asked for, or twice", |_, p| {
            let row = p[1].rows[0].clone();
            p[0].rows.push(row);
        }),
        ("not asked for, or twice", |_, p| {
            let row = p[0].rows[0].clone();
            p[0].rows.push(row);
        }),
    ];
    for (says, damage) in damages {
        let (mut shards, mut parts) = (shards.clone(), parts.clone());
        damage(&mut shards, &mut parts);
        let fold = fold(&id("b"), &shards, &parts);
        assert!(fold.findings.iter().any(|f| f.to_string().contains(says)), "{says}: {:?}", fold.findings);
    }
}

#[test]
fn two_plans_that_differ_in_a_version_have_different_digests() {
    let one = vec![object(1, 1)];
    let mut other = one.clone();
    other[0].version_id = None;
    assert_ne!(plan_digest(&one), plan_digest(&other));
}
