use std::time::Duration;

use lifeboat_domain::expectations::TenantStatus;
use lifeboat_domain::expectations::canary::{HITS, TENANTS_COUNTED_MAX};
use lifeboat_domain::ids::{BackupId, Generation, InstanceId};
use lifeboat_domain::manifest::{Consistency, Trigger};
use serde_json::json;

use super::*;
use crate::ports::Nodes;
use crate::twins::{Call, Failure, World, object_id};

fn seeded() -> (World, InstanceId) {
    let (world, instance) = World::serving();
    world.node(&instance).seed();
    (world, instance)
}

fn node(world: &World, instance: &InstanceId) -> impl Node {
    world.nodes().at(&world.address_of(instance))
}

fn expectations(world: &World, instance: &InstanceId, reading: Reading) -> Expectations {
    Expectations {
        backup_id: BackupId::parse("b").unwrap(),
        generation: Generation(1),
        instance: instance.clone(),
        trigger: Trigger::Schedule,
        is_final: false,
        recorded_at: world.now(),
        weaviate_version: reading.weaviate_version,
        node_name: reading.node_name,
        adapter: reading.adapter,
        collections: reading.collections,
        freeze: None,
    }
}

/// Expectations of a calm node, with what it shows afterwards.
async fn recorded(world: &World, instance: &InstanceId) -> (Expectations, ObservedAfter) {
    let node = node(world, instance);
    let expectations = expectations(world, instance, record_expectations(&node).await.unwrap());
    let observation = observe_after(&node, &expectations).await.unwrap();
    (expectations, ObservedAfter { backup_id: BackupId::parse("b").unwrap(), observation })
}

async fn found(world: &World, instance: &InstanceId, recorded: &(Expectations, ObservedAfter)) -> Vec<String> {
    let findings = check_restored(&node(world, instance), &recorded.0, &recorded.1).await.unwrap();
    findings.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_node_that_shows_the_same_passes_by_either_api() {
    for rest in [true, false] {
        let (world, instance) = seeded();
        world.node(&instance).set(|s| s.rest_search = rest);
        let recorded = recorded(&world, &instance).await;
        assert_eq!(recorded.0.adapter, if rest { EvidenceAdapter::Rest } else { EvidenceAdapter::Graphql });
        assert_eq!(compare::consistency(&recorded.0, &recorded.1), Consistency::Exact);
        assert_eq!(recorded.0.objects(), 25 + 12 + 8);
        assert_eq!(compare::usable(&recorded.0, &recorded.1).counted_only, Vec::<String>::new());
        let article = &recorded.0.collections["Article"].canaries[0];
        assert_eq!(article.queries.len(), 3, "a filtered count, BM25 and its neighbours: {article:?}");
        assert!(
            article
                .queries
                .iter()
                .any(|q| matches!(q, CanaryQuery::NearObject { ids, .. } if ids.len() == HITS as usize))
        );
        assert_eq!(found(&world, &instance, &recorded).await, [""; 0]);
    }
}

#[tokio::test]
async fn two_readings_of_one_node_choose_the_same_canaries() {
    let (world, instance) = seeded();
    let node = node(&world, &instance);
    assert_eq!(record_expectations(&node).await.unwrap(), record_expectations(&node).await.unwrap());
}

#[tokio::test]
async fn what_a_restore_lost_or_changed_is_found() {
    let (world, instance) = seeded();
    let recorded = recorded(&world, &instance).await;
    let canary = recorded.0.collections["Note"].canaries[0].id.clone();
    world.node(&instance).put(
        "Note",
        None,
        &canary,
        json!({"title": "other", "n": 1}),
        &[("default", &[1.0, 0.0, 0.0, 0.0])],
    );
    let findings = found(&world, &instance, &recorded).await;
    assert!(findings.contains(&format!("the object Note {canary} has other properties or vectors")), "{findings:?}");

    world.node(&instance).delete("Note", None, &canary);
    let findings = found(&world, &instance, &recorded).await;
    assert!(findings.contains(&"Note holds 11 objects, expected 12".to_owned()), "{findings:?}");
    assert!(findings.contains(&format!("the object Note {canary} is missing")), "{findings:?}");

    world.node(&instance).drop_class("Article");
    world.node(&instance).add_class("Extra", false, "cosine");
    let findings = found(&world, &instance, &recorded).await;
    assert!(findings.contains(&"collection Article is missing".to_owned()), "{findings:?}");
    assert!(findings.contains(&"collection Extra is not in the backup".to_owned()), "{findings:?}");
}

#[tokio::test]
async fn a_query_that_finds_something_else_is_found_even_when_every_canary_is_the_same() {
    let (world, instance) = seeded();
    let recorded = recorded(&world, &instance).await;
    let canaries: Vec<String> = recorded.0.collections["Article"].canaries.iter().map(|c| c.id.clone()).collect();
    let other = (0..25).map(|n| object_id("Article", None, n)).find(|id| !canaries.contains(id)).unwrap();
    world.node(&instance).put(
        "Article",
        None,
        &other,
        json!({"title": "x", "n": 99}),
        &[("default", &[0.0, 0.0, 0.0, 1.0])],
    );
    let findings = found(&world, &instance, &recorded).await;
    assert!(!findings.is_empty() && findings.iter().all(|f| f.contains("query around Article")), "{findings:?}");
}

#[tokio::test]
async fn writes_while_a_backup_is_taken_make_it_live_and_not_refused() {
    let (world, instance) = seeded();
    let node = node(&world, &instance);
    let before = expectations(&world, &instance, record_expectations(&node).await.unwrap());
    world.node(&instance).put_many("Article", None, 30);
    let canary = before.collections["Note"].canaries[0].id.clone();
    world.node(&instance).delete("Note", None, &canary);
    let observation = observe_after(&node, &before).await.unwrap();
    let after = ObservedAfter { backup_id: before.backup_id.clone(), observation };
    assert_eq!(compare::consistency(&before, &after), Consistency::Live);
    assert_eq!(found(&world, &instance, &(before, after)).await, [""; 0]);
}

#[tokio::test]
async fn a_tenant_that_is_not_active_is_never_asked_for_anything() {
    let (world, instance) = seeded();
    let recorded = recorded(&world, &instance).await;
    let tenants = &recorded.0.collections["Tenanted"].tenants;
    assert_eq!((tenants["acme"].count, tenants["globex"].count, tenants["initech"].count), (Some(8), None, None));
    assert!(recorded.0.collections["Tenanted"].canaries.iter().all(|c| c.tenant.as_deref() == Some("acme")));
    // The twin refuses every question about one that is not active: no answer would be an error here.
    world.node(&instance).set_tenant("Tenanted", "acme", TenantStatus::Inactive);
    let findings = found(&world, &instance, &recorded).await;
    assert!(findings.contains(&"Tenanted, tenant acme is INACTIVE, expected ACTIVE".to_owned()), "{findings:?}");
    assert!(!findings.iter().any(|f| f.contains("holds")), "{findings:?}");
}

#[tokio::test]
async fn a_database_is_empty_only_without_any_object_and_any_sleeping_tenant() {
    let (world, instance) = World::serving();
    let node = node(&world, &instance);
    world.fail_next(Call::EvidenceAdapter, "", Failure::Denied);
    assert!(record_expectations(&node).await.unwrap().is_empty(), "GraphQL has no answer without a schema");
    world.node(&instance).add_class("Empty", false, "cosine");
    assert!(record_expectations(&node).await.is_err(), "it was not asked before");
    assert!(record_expectations(&node).await.unwrap().is_empty());
    let handle = world.node(&instance);
    handle.add_class("Tenanted", true, "cosine").set_tenant("Tenanted", "on", TenantStatus::Active);
    assert!(record_expectations(&node).await.unwrap().is_empty());
    handle.set_tenant("Tenanted", "asleep", TenantStatus::Inactive);
    assert!(!record_expectations(&node).await.unwrap().is_empty(), "nobody knows what it holds");
}

#[tokio::test]
async fn above_a_thousand_tenants_a_sample_is_counted_and_all_are_listed() {
    let (world, instance) = World::serving();
    world.set(|s| s.call_takes = Duration::ZERO);
    let handle = world.node(&instance);
    handle.add_class("Many", true, "cosine");
    for n in 0..1_100 {
        handle.set_tenant("Many", &format!("t{n}"), TenantStatus::Active);
    }
    let reading = record_expectations(&node(&world, &instance)).await.unwrap();
    let tenants = &reading.collections["Many"].tenants;
    assert_eq!((tenants.len(), tenants.values().filter(|t| t.count.is_some()).count()), (1_100, TENANTS_COUNTED_MAX));
    assert_eq!(world.count(Call::Count), TENANTS_COUNTED_MAX);
}

#[tokio::test]
async fn no_answer_is_an_error_and_never_a_verdict() {
    let (world, instance) = seeded();
    let recorded = recorded(&world, &instance).await;
    let node = node(&world, &instance);
    for call in [Call::Meta, Call::Schema, Call::Tenants, Call::Count, Call::Object, Call::Bm25, Call::NearObject] {
        world.fail_next(call, "", Failure::Unreachable);
        let error = check_restored(&node, &recorded.0, &recorded.1).await.unwrap_err();
        assert!(matches!(error, EvidenceError::Node { .. }), "{call:?}");
    }
    assert_eq!(found(&world, &instance, &recorded).await, [""; 0]);
}

#[tokio::test]
async fn a_query_that_a_node_cannot_answer_now_is_left_out_of_the_expectations_and_stops_no_backup() {
    let (world, instance) = seeded();
    for _ in 0..200 {
        world.fail_next(Call::NearObject, "", Failure::Unreachable);
    }
    let reading = record_expectations(&node(&world, &instance)).await.unwrap();
    let canaries = reading.collections.values().flat_map(|c| &c.canaries);
    assert!(canaries.flat_map(|c| &c.queries).all(|q| !matches!(q, CanaryQuery::NearObject { .. })));
    assert!(reading.collections["Article"].canaries.len() > 3);
}
