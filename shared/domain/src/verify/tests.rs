use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::descriptors::{Descriptors, bases, check, parse_global, parse_node};
use super::inventory::{Content, Entry};
use super::plan::{Limits, SHARD_COST_BYTES_MIN, SHARDS_MAX, fold, plan, plan_digest};
use super::sample::{NODE, Sample, at, entry, id, sharding};
use super::*;
use crate::expectations::{AfterObservation, TenantExpectation, TenantStatus};
use crate::ids::Sha256Digest;
use crate::manifest::{CatalogueRow, Consistency, GuardDecision, encode_catalogue, root_digest};

fn findings(sample: &Sample) -> Vec<Finding> {
    let inventory = Inventory::of(&sample.id, sample.entries.clone());
    let mut findings = inventory.overwritten();
    let (none, descriptors) = (BTreeMap::new(), sample.descriptors());
    findings.extend(check(&sample.id, &inventory.sizes(), &none, &descriptors, &sample.expectations));
    findings
}

type Break = fn(&mut Sample);

#[test]
fn a_whole_backup_has_no_finding_and_its_probes_and_restore_descriptor_do_not_count() {
    let mut sample = Sample::new();
    assert_eq!(findings(&sample), []);
    for path in ["restore_config.json", "access-check", "weaviate-0/access-check"] {
        let key = format!("backups/b_1/{path}");
        let marker = Entry { content: Content::DeleteMarker, ..entry(&key, "marker", 0) };
        sample.entries.extend([Entry { is_latest: false, ..entry(&key, "probe", 0) }, marker]);
    }
    sample.entries.push(entry("backups/b_1/restore_config.json", "again", 3));
    assert_eq!(findings(&sample), []);
    assert_eq!(sample.rows().len() - 1, Inventory::of(&sample.id, sample.entries.clone()).objects().len());
}

#[test]
fn whatever_disagrees_is_found_by_its_own_name() {
    let cases: Vec<(&str, Break)> = vec![
        ("not SUCCESS", |s| s.global["status"] = json!("STARTED")),
        ("not SUCCESS", |s| s.node["status"] = json!("TRANSFERRING")),
        ("not SUCCESS", |s| s.node["status"] = json!("Success")),
        ("carries the error", |s| s.global["error"] = json!("disk full")),
        ("carries the error", |s| s.node["error"] = json!("disk full")),
        ("says that it is backup", |s| s.global["id"] = json!("other")),
        ("says that it is backup", |s| s.node["id"] = json!("other")),
        ("structure version", |s| s.global["version"] = json!("3.0")),
        ("structure version", |s| s.global["version"] = json!("")),
        ("lists no node", |s| s.global["nodes"] = json!({})),
        ("no part of node", |s| s.expectations.node_name = "other".into()),
        ("incremental_not_supported", |s| s.global["baseBackupId"] = json!("b_0")),
        ("incremental_not_supported", |s| {
            s.node["classes"][0]["shards"][0]["incrementalBackupInfo"] = json!({"filesPerBackup": {"b_0": []}});
        }),
        ("backup_config.json says", |s| s.node["classes"].as_array_mut().unwrap().truncate(1)),
        ("lacks the classes [\"New\"]", |s| {
            let copy = s.expectations.collections["Article"].clone();
            s.expectations.collections.insert("New".into(), copy);
        }),
        ("and has [\"Tenanted\"]", |s| drop(s.expectations.collections.remove("Tenanted"))),
        ("is of backup other", |s| s.expectations.backup_id = id("other")),
        ("no readable sharding state", |s| s.node["classes"][0]["shardingState"] = json!("%")),
        ("no readable sharding state", |s| s.node["classes"][0]["shardingState"] = json!(null)),
        ("no readable sharding state", |s| s.node["classes"][0]["shardingState"] = json!(sharding(&json!({})))),
        ("on the node but not in the backup", |s| {
            let physical = json!({"physical": {"s1": {"belongsToNodes": [NODE]}, "s2": {"belongsToNodes": [NODE]}}});
            s.node["classes"][0]["shardingState"] = json!(sharding(&physical));
        }),
        ("on the node but not in the backup", |s| {
            let physical = json!({"physical": {"s1": {}, "s2": {"status": "FREEZING"}}});
            s.node["classes"][0]["shardingState"] = json!(sharding(&physical));
        }),
        ("no chunk holds shard hot", |s| s.node["classes"][1]["chunks"]["1"] = json!([])),
        ("inactive tenant new", |s| {
            let tenant = TenantExpectation { status: TenantStatus::Inactive, count: None };
            s.expectations.collections.get_mut("Tenanted").unwrap().tenants.insert("new".into(), tenant);
        }),
        ("chunk-2 is missing", |s| s.entries.retain(|e| !e.key.ends_with("Article/chunk-2"))),
        ("chunk-2 is missing", |s| {
            let deleted = s.entries.iter_mut().find(|e| e.key.ends_with("Article/chunk-2")).unwrap();
            deleted.content = Content::DeleteMarker;
        }),
        ("chunk-9 is missing", |s| {
            s.node["classes"][0]["shards"][0]["bigFilesChunk"] = json!({"f": {"chunkKeys": ["Article/chunk-9"]}});
        }),
        ("is empty", |s| {
            let chunk = s.entries.iter_mut().find(|e| e.key.ends_with("Article/chunk-2")).unwrap();
            chunk.content = Content::Object { size_bytes: 0, etag: "e".into() };
        }),
        ("backup.json is missing", |s| s.entries.retain(|e| !e.key.ends_with("backup.json"))),
        ("named by no descriptor", |s| s.entries.push(entry("backups/b_1/weaviate-0/Article/chunk-3", "v", 1))),
        ("named by no descriptor", |s| s.entries.push(entry("backups/b_1/a/b/access-check", "v", 1))),
        ("was overwritten or deleted", |s| {
            let key = "backups/b_1/weaviate-0/Article/chunk-1";
            s.entries.push(Entry { is_latest: false, ..entry(key, "older", 10) });
        }),
        ("was overwritten or deleted", |s| {
            let marker = entry("backups/b_1/backup_config.json", "marker", 0);
            s.entries.push(Entry { is_latest: false, content: Content::DeleteMarker, ..marker });
        }),
        ("was overwritten or deleted (4 versions)", |s| {
            for version in ["third", "fourth"] {
                let older = entry("backups/b_1/backup_config.json", version, 9);
                s.entries.push(Entry { is_latest: false, ..older });
            }
        }),
    ];
    for (n, (says, break_it)) in cases.into_iter().enumerate() {
        let mut sample = Sample::new();
        break_it(&mut sample);
        let texts: Vec<String> = findings(&sample).iter().map(ToString::to_string).collect();
        assert!(texts.iter().any(|t| t.contains(says)), "case {n} {says:?}: {texts:?}");
    }
}

#[test]
fn an_upload_that_was_retried_with_the_same_bytes_is_no_overwrite() {
    let mut sample = Sample::new();
    let key = "backups/b_1/weaviate-0/backup.json";
    let twin = entry(key, "backup.json", 10);
    sample.entries.push(Entry { is_latest: false, version_id: Some("first try".into()), ..twin });
    assert_eq!(findings(&sample), []);
}

/// A backup of three nodes, each with its own shard of one class.
fn three_nodes() -> (Sample, Descriptors) {
    let mut sample = Sample::new();
    let names = ["weaviate-0", "weaviate-1", "weaviate-2"];
    let physical: BTreeMap<&str, Value> = names.iter().map(|n| (*n, json!({"belongsToNodes": [n]}))).collect();
    let state = sharding(&json!({ "physical": physical }));
    let global = json!({"id": "b_1", "status": "SUCCESS", "error": "", "version": "2.1", "compressionType": "gzip",
        "nodes": names.iter().map(|n| (*n, json!({"classes": ["Article"], "status": "SUCCESS"}))).collect::<BTreeMap<_, _>>()});
    let nodes = names.map(|n| {
        let text = json!({"id": "b_1", "status": "SUCCESS", "version": "2.1", "compressionType": "gzip", "classes": [
            {"name": "Article", "chunks": {"1": [n]}, "shards": [{"name": n}], "shardingState": state}]});
        (n.to_owned(), (parse_node(&sample.id, n, text.to_string().as_bytes()).unwrap(), Sha256Digest::of(n.as_bytes())))
    });
    sample.expectations.collections.remove("Tenanted");
    sample.entries = vec![entry("backups/b_1/backup_config.json", "g", 9)];
    for n in names {
        sample.entries.push(entry(&format!("backups/b_1/{n}/backup.json"), "n", 9));
        sample.entries.push(entry(&format!("backups/b_1/{n}/Article/chunk-1"), "c", 9));
    }
    let descriptors = Descriptors {
        global: parse_global(&sample.id, global.to_string().as_bytes()).unwrap(),
        global_sha256: Sha256Digest::of(b"g"),
        nodes: BTreeMap::from(nodes),
    };
    (sample, descriptors)
}

#[test]
fn any_number_of_nodes_is_held_to_its_own_descriptor_chunks_and_shards() {
    let holds = |sample: &Sample, descriptors: &Descriptors| {
        let inventory = Inventory::of(&sample.id, sample.entries.clone());
        let findings = check(&sample.id, &inventory.sizes(), &BTreeMap::new(), descriptors, &sample.expectations);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let (sample, descriptors) = three_nodes();
    assert_eq!(holds(&sample, &descriptors), Vec::<String>::new());
    type Break = fn(&mut Sample, &mut Descriptors);
    let cases: Vec<(&str, Break)> = vec![
        ("weaviate-2/backup.json is missing", |_, d| drop(d.nodes.remove("weaviate-2"))),
        ("weaviate-1/Article/chunk-1 is missing", |s, _| s.entries.retain(|e| !e.key.contains("weaviate-1/Article"))),
        ("weaviate-2/Article/chunk-1 is empty", |s, _| {
            s.entries.last_mut().unwrap().content = Content::Object { size_bytes: 0, etag: "e".into() };
        }),
        ("weaviate-3/Article/chunk-1 is named by no descriptor", |s, _| {
            s.entries.push(entry("backups/b_1/weaviate-3/Article/chunk-1", "c", 9));
        }),
        ("is on the node but not in the backup", |_, d| {
            let class = &mut d.nodes.get_mut("weaviate-1").unwrap().0.classes[0];
            (class.shards, class.chunks) = (vec![], BTreeMap::new());
        }),
        ("holds shard weaviate-0, which the class does not have", |_, d| {
            let class = &mut d.nodes.get_mut("weaviate-1").unwrap().0.classes[0];
            class.chunks.get_mut("1").unwrap().push("weaviate-0".into());
        }),
        ("FAILED of node weaviate-1", |_, d| d.global.nodes.get_mut("weaviate-1").unwrap().status = "FAILED".into()),
        ("carries the error", |_, d| d.global.nodes.get_mut("weaviate-1").unwrap().error = "disk full".into()),
        ("says that it is backup \"b_0\"", |_, d| d.nodes.get_mut("weaviate-2").unwrap().0.id = "b_0".into()),
        ("has compression \"zstd\"", |_, d| {
            d.nodes.get_mut("weaviate-1").unwrap().0.compression_type = Some("zstd".into());
        }),
        ("has structure version \"2.0\"", |_, d| d.nodes.get_mut("weaviate-1").unwrap().0.version = "2.0".into()),
        ("has the classes []", |_, d| d.nodes.get_mut("weaviate-0").unwrap().0.classes.clear()),
    ];
    for (says, break_it) in cases {
        let (mut sample, mut descriptors) = three_nodes();
        break_it(&mut sample, &mut descriptors);
        let texts = holds(&sample, &descriptors);
        assert!(texts.iter().any(|t| t.contains(says)), "{says}: {texts:?}");
    }
}

/// As 1.38.11 writes it (seen): the node's descriptor names the files that lie in another backup.
#[test]
fn what_an_incremental_backup_takes_from_others_is_held_to_be_there_and_the_backup_is_refused() {
    let mut sample = Sample::new();
    sample.global["baseBackupId"] = json!("b_0");
    sample.node["baseBackupId"] = json!("b_0");
    sample.node["classes"][0]["shards"][0]["incrementalBackupInfo"] =
        json!({"filesPerBackup": {"b_0": [{"file": "f", "chunkKeys": ["Article/chunk-2"]}], "b_x": []}});
    let descriptors = sample.descriptors();
    assert_eq!(bases(&descriptors).into_iter().collect::<Vec<_>>(), ["b_0", "b_x"]);
    let sizes = Inventory::of(&sample.id, sample.entries.clone()).sizes();
    let whole = BTreeMap::from([("backup_config.json".to_owned(), 9), ("weaviate-0/Article/chunk-2".to_owned(), 9)]);
    let texts = |b_0: Option<BTreeMap<String, u64>>| {
        let mut based_on = BTreeMap::from([("b_x".to_owned(), whole.clone())]);
        based_on.extend(b_0.map(|sizes| ("b_0".to_owned(), sizes)));
        let findings = check(&sample.id, &sizes, &based_on, &descriptors, &sample.expectations);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let refused = texts(Some(whole.clone()));
    assert!(refused.len() == 2 && refused.iter().all(|t| t.contains("incremental_not_supported")), "{refused:?}");
    for (says, b_0) in [
        ("builds on b_0, of which there is nothing left", None),
        ("builds on b_0, of which there is nothing left", Some(BTreeMap::new())),
        ("backups/b_0/weaviate-0/Article/chunk-2, which the backup takes from", {
            Some(BTreeMap::from([("backup_config.json".to_owned(), 9)]))
        }),
        ("builds on, is empty", {
            let mut empty = whole.clone();
            empty.insert("weaviate-0/Article/chunk-2".to_owned(), 0);
            Some(empty)
        }),
    ] {
        let found = texts(b_0);
        assert!(found.iter().any(|t| t.contains(says)), "{says}: {found:?}");
    }
}

#[test]
fn more_than_one_node_is_verified_too() {
    let mut sample = Sample::new();
    sample.global["nodes"]["weaviate-1"] = json!({"classes": ["Article"]});
    let texts: Vec<String> = findings(&sample).iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("backups/b_1/weaviate-1/backup.json is missing"), "{texts:?}");
}

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
    let objects: Vec<ShardObject> = (0..100).map(|n| object(n, if n % 2 == 0 { 100 << 20 } else { 299 << 20 })).collect();
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

#[test]
fn t0_finds_whatever_keeps_a_restore_from_reading_what_was_verified() {
    let rows = Sample::new().rows();
    let run = |break_it: Break| {
        let mut sample = Sample::new();
        break_it(&mut sample);
        t0::compare(&rows, &Inventory::of(&sample.id, sample.entries), 1)
    };
    fn chunk(sample: &mut Sample) -> &mut Entry {
        sample.entries.iter_mut().find(|e| e.key.ends_with("Article/chunk-1")).unwrap()
    }
    fn newer(sample: &mut Sample, content: Content) {
        let chunk = chunk(sample);
        chunk.is_latest = false;
        let newer = Entry { is_latest: true, content, version_id: Some("newer".into()), ..chunk.clone() };
        sample.entries.push(newer);
    }
    let whole = run(|_| {});
    assert!(whole.passed() && !whole.healable() && whole.level == T0Level::Full);
    let cases: Vec<(&str, bool, Break)> = vec![
        ("is gone", false, |s| s.entries.retain(|e| !e.key.ends_with("Article/chunk-1"))),
        ("is gone", false, |s| chunk(s).version_id = Some("other".into())),
        ("overwritten", true, |s| newer(s, Content::Object { size_bytes: 10, etag: "e".into() })),
        ("still exists: heal", true, |s| newer(s, Content::DeleteMarker)),
        ("its verified version is gone", false, |s| chunk(s).content = Content::DeleteMarker),
        ("in its size", false, |s| chunk(s).content = Content::Object { size_bytes: 9, etag: "e".into() }),
        ("in its ETag", false, |s| chunk(s).content = Content::Object { size_bytes: 10, etag: "e".into() }),
        ("not in the catalogue", true, |s| s.entries.push(entry("backups/b_1/weaviate-0/X/chunk-1", "v", 1))),
    ];
    for (says, healable, break_it) in cases {
        let outcome = run(break_it);
        assert_eq!(outcome.findings.len(), 1, "{says}: {outcome:?}");
        assert!(outcome.findings[0].to_string().contains(says), "{says}: {}", outcome.findings[0]);
        assert_eq!(outcome.healable(), healable, "{says}");
    }
    let used = run(|s| s.entries.push(entry("backups/b_1/restore_config.json", "r", 1)));
    assert!(used.passed());
    assert!(!t0::compare(&[], &Inventory::of(&id("b_1"), []), 1).passed());
}

#[test]
fn t0_on_a_store_without_versions_is_labelled_weak() {
    let mut sample = Sample::new();
    sample.entries.retain(|e| e.is_latest);
    for entry in &mut sample.entries {
        entry.version_id = None;
    }
    let outcome = t0::compare(&sample.rows(), &Inventory::of(&sample.id, sample.entries.clone()), 1);
    assert_eq!((outcome.level, outcome.findings), (T0Level::Weak, vec![]));
}

#[test]
fn a_backup_is_proved_only_by_descriptors_that_are_the_very_bytes_that_were_hashed() {
    let sample = Sample::new();
    let manifest = sample.stored(GuardDecision::Publish).manifest;
    assert_eq!(manifest.engine.returned_classes, ["Article", "Tenanted"]);
    assert_eq!((manifest.totals.files, manifest.totals.objects, manifest.totals.collections), (6, 33, 2));
    assert_eq!((manifest.data_as_of, manifest.verified_at), (at(100), at(500)));
    assert_eq!(manifest.consistency, Consistency::Exact);

    let mut fold = Fold { rows: sample.rows(), findings: vec![], notes: vec![] };
    fold.rows.iter_mut().find(|r| r.key.ends_with("backup.json")).unwrap().sha256 = Sha256Digest::of(b"other");
    let (e, o) = (sample.expectations.clone(), sample.observed.clone());
    let refused = VerifiedBackup::prove(&sample.id, fold, sample.descriptors(), (e, b""), (o, b"")).unwrap_err();
    assert!(matches!(&refused[..], [Finding::Changed { .. }]), "{refused:?}");

    let mut missing = sample.clone();
    missing.entries.retain(|e| !e.key.ends_with("Tenanted/chunk-2"));
    assert!(matches!(&missing.proved().unwrap_err()[..], [Finding::ObjectMissing { .. }]));
}

#[test]
fn counts_that_differ_make_a_backup_live_and_a_node_that_died_one_sided() {
    let mut sample = Sample::new();
    if let AfterObservation::Node { counts, .. } = &mut sample.observed.observation {
        counts.insert("Article".into(), 26);
    }
    assert_eq!(crate::expectations::compare::consistency(&sample.expectations, &sample.observed), Consistency::Live);
    sample.observed.observation = AfterObservation::NodeGone { proof: "terminated".into() };
    assert_eq!(
        crate::expectations::compare::consistency(&sample.expectations, &sample.observed),
        Consistency::OneSided
    );
}

/// Each mutation as it is, and resealed: with every digest above it recomputed, as a buggy or hostile writer would.
#[test]
fn a_stored_proof_that_was_touched_anywhere_is_no_proof_even_when_resealed_above() {
    let stored = || Sample::new().stored(GuardDecision::Publish);
    assert!(stored().check().is_ok());
    type Touch = fn(&mut sample::Stored);
    let cases: Vec<(&str, Touch)> = vec![
        ("has not the digest that the manifest records", |s| s.expectations.push(b' ')),
        ("has not the digest that the manifest records", |s| s.observed_after.push(b' ')),
        ("is of another backup", |s| s.manifest.backup_id = id("other")),
        ("newer reader", |s| s.manifest.min_reader = 2),
        ("reading every object", |s| s.manifest.verification = crate::pointer::VerificationLevel::T0),
        ("does not hold", |s| s.catalogue.truncate(10)),
        ("does not hold", |s| {
            let mut rows = Sample::new().rows();
            rows[0].size_bytes += 1;
            s.catalogue = encode_catalogue(&rows);
            s.manifest.catalogue.sha256 = Sha256Digest::of(&s.catalogue);
        }),
        ("is empty or names objects of another", |s| {
            s.catalogue.clear();
            s.manifest.catalogue.sha256 = Sha256Digest::of(b"");
            (s.manifest.catalogue.rows, s.manifest.catalogue.size_bytes) = (0, 0);
            s.manifest.catalogue.root_sha256 = root_digest(&[]);
        }),
        ("is of another backup", |s| {
            let mut other = Sample::new();
            other.expectations.backup_id = id("other");
            s.expectations = crate::document::encode(&other.expectations);
            s.manifest.expectations_sha256 = Sha256Digest::of(&s.expectations);
        }),
    ];
    for (n, (says, touch)) in cases.into_iter().enumerate() {
        let mut stored = stored();
        touch(&mut stored);
        let error = stored.check().unwrap_err().to_string();
        assert!(error.contains(says), "case {n}: {error}");
    }
}

#[test]
fn a_manifest_that_was_rewritten_in_good_order_is_not_the_one_that_the_pointer_pins() {
    let mut stored = Sample::new().stored(GuardDecision::Publish);
    let pinned = stored.check().unwrap().reference().clone();
    assert!(stored.check_named_by(&pinned).is_ok());
    stored.manifest.tool_version = "0.1.1".into();
    assert!(stored.check().is_ok(), "nothing inside it is wrong");
    let error = stored.check_named_by(&pinned).unwrap_err().to_string();
    assert!(error.contains("has not the digest that the pointer pins"), "{error}");
    let elsewhere = crate::pointer::ManifestRef { key: "manifests/other/manifest.json".into(), ..pinned };
    let error = stored.check_named_by(&elsewhere).unwrap_err().to_string();
    assert!(error.contains("is not the manifest of the backup"), "{error}");
}

#[test]
fn a_finding_reads_back_and_says_what_to_do() {
    let finding = Finding::ObjectMissing { key: "k".into() };
    let text = serde_json::to_string(&finding).unwrap();
    assert_eq!(text, r#"{"kind":"object_missing","key":"k"}"#);
    assert_eq!(serde_json::from_str::<Finding>(&text).unwrap(), finding);
    let many: Vec<Finding> = (0..12).map(|n| Finding::Changed { key: n.to_string() }).collect();
    assert_eq!(finding::reasons(&many).len(), 11);
    assert_eq!(finding::reasons(&many)[10], "and 2 more, in the evidence file");
}
