use super::inventory::{Content, Entry};
use super::sample::{Sample, at, entry, id};
use super::*;
use crate::expectations::AfterObservation;
use crate::ids::Sha256Digest;
use crate::manifest::{Consistency, GuardDecision, encode_catalogue, root_digest};

type Break = fn(&mut Sample);

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
