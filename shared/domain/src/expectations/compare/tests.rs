use serde_json::json;

use super::*;
use crate::expectations::EvidenceAdapter;
use crate::ids::{Generation, InstanceId};
use crate::manifest::Trigger;

const DEFINITION: &[u8] = b"definition";

fn canary(tenant: Option<&str>, id: &str) -> Canary {
    let seen = seen_as(id);
    Canary {
        tenant: tenant.map(str::to_owned),
        id: id.into(),
        properties_sha256: seen.properties_sha256,
        vectors_sha256: seen.vectors_sha256,
        queries: vec![count_query(3)],
    }
}

fn count_query(count: u64) -> CanaryQuery {
    CanaryQuery::FilteredCount { property: "p".into(), value: json!(1), count }
}

fn seen_as(text: &str) -> CanarySeen {
    let mut seen = CanarySeen::of(&json!({"t": text}), &BTreeMap::from([("default".to_owned(), vec![1.0])]));
    seen.answers = vec![Some(count_query(3))];
    seen
}

fn tenant(status: TenantStatus, count: Option<u64>) -> TenantExpectation {
    TenantExpectation { status, count }
}

/// Plain: 1,000 objects, canaries a and b. Tenanted: on (500, canary t), off (INACTIVE), away (OFFLOADED).
fn expectations() -> Expectations {
    let plain = CollectionExpectation {
        definition_sha256: Sha256Digest::of(DEFINITION),
        count: 1_000,
        tenants: BTreeMap::new(),
        canaries: vec![canary(None, "a"), canary(None, "b")],
    };
    let tenanted = CollectionExpectation {
        definition_sha256: Sha256Digest::of(DEFINITION),
        count: 500,
        tenants: BTreeMap::from([
            ("on".to_owned(), tenant(TenantStatus::Active, Some(500))),
            ("off".to_owned(), tenant(TenantStatus::Inactive, None)),
            ("away".to_owned(), tenant(TenantStatus::Offloaded, None)),
        ]),
        canaries: vec![canary(Some("on"), "t")],
    };
    Expectations {
        backup_id: BackupId::parse("b").unwrap(),
        generation: Generation(1),
        instance: InstanceId::parse("i-0a").unwrap(),
        trigger: Trigger::Schedule,
        is_final: false,
        recorded_at: "2026-11-20T00:00:00Z".parse().unwrap(),
        weaviate_version: "1.38.11".into(),
        node_name: "weaviate-0".into(),
        adapter: EvidenceAdapter::Rest,
        collections: BTreeMap::from([("Plain".to_owned(), plain), ("Tenanted".to_owned(), tenanted)]),
        freeze: None,
    }
}

/// A node that shows exactly what is expected.
fn faithful() -> Observed {
    let expected = expectations();
    Observed {
        weaviate_version: expected.weaviate_version.clone(),
        collections: expected
            .collections
            .iter()
            .map(|(name, c)| {
                let (count, tenants) = (c.count, c.tenants.clone());
                let definition_sha256 = c.definition_sha256.clone();
                (name.clone(), ObservedCollection { definition_sha256, count, tenants })
            })
            .collect(),
        canaries: canaries(&expected).map(|(name, c)| (name, Some(seen_as(&c.id)))).collect(),
    }
}

fn observed(observation: AfterObservation) -> ObservedAfter {
    ObservedAfter { backup_id: BackupId::parse("b").unwrap(), observation }
}

fn calm() -> ObservedAfter {
    observed(after(&expectations(), &faithful()))
}

fn gone() -> ObservedAfter {
    observed(AfterObservation::NodeGone { proof: "terminated".into() })
}

/// The node after SUCCESS when somebody wrote: 200 more objects in Plain, and object b changed.
fn busy() -> ObservedAfter {
    let mut seen = faithful();
    seen.collections.get_mut("Plain").unwrap().count = 1_200;
    seen.canaries.insert(CanaryName::new("Plain", None, "b"), Some(seen_as("changed")));
    observed(after(&expectations(), &seen))
}

fn texts(seen: &Observed, after: &ObservedAfter) -> Vec<String> {
    findings(seen, &expectations(), after).iter().map(ToString::to_string).collect()
}

#[test]
fn a_faithful_node_passes_whether_the_backup_was_exact_live_or_one_sided() {
    for (after, consistency) in
        [(calm(), Consistency::Exact), (busy(), Consistency::Live), (gone(), Consistency::OneSided)]
    {
        assert_eq!(super::consistency(&expectations(), &after), consistency);
        assert_eq!(texts(&faithful(), &after), [""; 0]);
    }
}

#[test]
fn equal_counts_with_a_changed_object_or_tenant_are_live() {
    let mut seen = faithful();
    seen.canaries.insert(CanaryName::new("Plain", None, "b"), None);
    assert_eq!(consistency(&expectations(), &observed(after(&expectations(), &seen))), Consistency::Live);
    let mut seen = faithful();
    let tenants = &mut seen.collections.get_mut("Tenanted").unwrap().tenants;
    tenants.insert("off".into(), tenant(TenantStatus::Active, None));
    let woken = observed(after(&expectations(), &seen));
    assert_eq!(consistency(&expectations(), &woken), Consistency::Live);
    assert_eq!(texts(&faithful(), &woken), [""; 0], "neither state is expected of a tenant that changed");
    assert_eq!(texts(&seen, &woken), [""; 0]);
}

#[test]
fn every_kind_of_difference_is_found_and_named() {
    type Mutation = fn(&mut Observed);
    let cases: [(Mutation, &str); 11] = [
        (|s| drop(s.collections.remove("Plain")), "collection Plain is missing"),
        (
            |s| drop(s.collections.insert("New".into(), s.collections["Plain"].clone())),
            "collection New is not in the backup",
        ),
        (|s| plain(s).definition_sha256 = Sha256Digest::of(b"other"), "the definition of collection Plain differs"),
        (|s| plain(s).count = 999, "Plain holds 999 objects, expected 1000"),
        (|s| plain(s).count = 1_001, "Plain holds 1001 objects, expected 1000"),
        (|s| drop(tenants(s).remove("off")), "Tenanted has no tenant off"),
        (
            |s| drop(tenants(s).insert("off".into(), tenant(TenantStatus::Active, None))),
            "Tenanted, tenant off is ACTIVE, expected INACTIVE",
        ),
        (
            |s| drop(tenants(s).insert("on".into(), tenant(TenantStatus::Active, Some(0)))),
            "Tenanted, tenant on holds 0 objects, expected 500",
        ),
        (|s| drop(s.canaries.insert(CanaryName::new("Plain", None, "a"), None)), "the object Plain a is missing"),
        (
            |s| drop(s.canaries.insert(CanaryName::new("Tenanted", Some("on"), "t"), Some(seen_as("x")))),
            "the object Tenanted, tenant on t has other properties or vectors",
        ),
        (
            |s| {
                s.canaries.get_mut(&CanaryName::new("Plain", None, "a")).unwrap().as_mut().unwrap().answers = vec![None]
            },
            "the filtered_count query around Plain a gives another answer",
        ),
    ];
    for (mutate, says) in cases {
        let mut seen = faithful();
        mutate(&mut seen);
        assert_eq!(texts(&seen, &calm()), [says]);
    }
}

fn plain(seen: &mut Observed) -> &mut ObservedCollection {
    seen.collections.get_mut("Plain").unwrap()
}

fn tenants(seen: &mut Observed) -> &mut BTreeMap<String, TenantExpectation> {
    &mut seen.collections.get_mut("Tenanted").unwrap().tenants
}

#[test]
fn a_live_count_is_held_to_its_bracket_and_one_percent() {
    for (count, passes) in
        [(1_000, true), (1_100, true), (1_200, true), (988, true), (1_212, true), (987, false), (1_213, false)]
    {
        let mut seen = faithful();
        plain(&mut seen).count = count;
        assert_eq!(texts(&seen, &busy()).is_empty(), passes, "{count}");
    }
}

#[test]
fn a_one_sided_count_has_a_floor_and_no_ceiling() {
    for (count, passes) in [(990, true), (989, false), (5_000, true)] {
        let mut seen = faithful();
        plain(&mut seen).count = count;
        assert_eq!(texts(&seen, &gone()).is_empty(), passes, "{count}");
    }
}

#[test]
fn a_live_backup_is_held_to_confirmed_objects_but_to_no_query() {
    let usable = usable(&expectations(), &busy());
    assert_eq!(
        usable.canaries.iter().map(|u| (u.name.id.as_str(), u.queries)).collect::<Vec<_>>(),
        [("a", false), ("t", false)]
    );
    let mut seen = faithful();
    seen.canaries.insert(CanaryName::new("Plain", None, "b"), None);
    assert_eq!(texts(&seen, &busy()), [""; 0], "b changed while the backup was taken");
    seen.canaries.insert(CanaryName::new("Plain", None, "a"), None);
    assert_eq!(texts(&seen, &busy()), ["the object Plain a is missing"]);
}

#[test]
fn a_query_that_changed_after_success_is_not_asked_of_the_restored_node() {
    let mut seen = faithful();
    seen.canaries.get_mut(&CanaryName::new("Plain", None, "a")).unwrap().as_mut().unwrap().answers = vec![None];
    let after = observed(after(&expectations(), &seen));
    assert_eq!(consistency(&expectations(), &after), Consistency::Exact);
    assert_eq!(texts(&seen, &after), [""; 0]);
}

#[test]
fn of_a_node_that_is_gone_one_unchanged_canary_proves_its_collection_and_none_refuses_it() {
    let mut seen = faithful();
    seen.canaries.insert(CanaryName::new("Plain", None, "a"), None);
    assert_eq!(texts(&seen, &gone()), [""; 0]);
    seen.canaries.insert(CanaryName::new("Plain", None, "b"), Some(seen_as("x")));
    assert_eq!(texts(&seen, &gone()).len(), 2);
}

#[test]
fn expectations_of_nothing_and_of_another_backup_prove_nothing() {
    let mut nothing = expectations();
    nothing.collections.clear();
    assert_eq!(findings(&faithful(), &nothing, &calm()), [Finding::NothingExpected]);
    let mut empty = expectations();
    for collection in empty.collections.values_mut() {
        collection.count = 0;
        collection.tenants.remove("off");
    }
    assert_eq!(findings(&faithful(), &empty, &calm()), [Finding::NothingExpected]);
    let mut other = calm();
    other.backup_id = BackupId::parse("c").unwrap();
    assert_eq!(texts(&faithful(), &other), ["expectations of b were given with an observation of c"]);
}

#[test]
fn without_any_usable_canary_the_evidence_does_not_pass_and_a_collection_without_one_is_named() {
    let mut seen = faithful();
    for canary in seen.canaries.values_mut() {
        *canary = None;
    }
    let none = observed(after(&expectations(), &seen));
    assert_eq!(
        texts(&faithful(), &none),
        ["no canary of the backup can be used, so counts alone would have to prove it"]
    );
    assert_eq!(usable(&expectations(), &none).counted_only, ["Plain", "Tenanted"]);
    assert!(usable(&expectations(), &calm()).counted_only.is_empty());
}

#[test]
fn a_database_whose_tenants_all_sleep_is_held_to_its_collections_and_tenants() {
    let (mut asleep, mut seen) = (expectations(), faithful());
    asleep.collections.remove("Plain");
    seen.collections.remove("Plain");
    let collection = asleep.collections.get_mut("Tenanted").unwrap();
    (collection.count, collection.canaries) = (0, Vec::new());
    collection.tenants.insert("on".into(), tenant(TenantStatus::Inactive, None));
    tenants(&mut seen).insert("on".into(), tenant(TenantStatus::Inactive, None));
    let after = observed(after(&asleep, &seen));
    assert_eq!(findings(&seen, &asleep, &after), []);
    tenants(&mut seen).remove("on");
    assert_eq!(findings(&seen, &asleep, &after).len(), 1);
}

#[test]
fn a_definition_may_differ_on_another_version_only() {
    let mut seen = faithful();
    plain(&mut seen).definition_sha256 = Sha256Digest::of(b"with a new default");
    seen.weaviate_version = "1.39.8".into();
    assert_eq!(texts(&seen, &calm()), [""; 0]);
}

#[test]
fn the_observation_after_success_reads_back_as_it_was_written() {
    let document = busy();
    let bytes = crate::document::encode(&document);
    assert_eq!(crate::document::decode::<ObservedAfter>("k", &bytes).unwrap(), document);
}
