use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::expectations::TenantExpectation;
use crate::verify::Inventory;
use crate::verify::inventory::{Content, Entry};
use crate::verify::sample::{NODE, Sample, entry, id, sharding};

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
        (
            n.to_owned(),
            (parse_node(&sample.id, n, text.to_string().as_bytes()).unwrap(), Sha256Digest::of(n.as_bytes())),
        )
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
