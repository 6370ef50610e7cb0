//! The findings about tenants and canaries.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Observed, allowed, canaries, usable};
use crate::expectations::{
    AfterObservation, CanaryName, CanaryQuery, CollectionExpectation, Expectations, ObservedAfter, TenantExpectation,
    TenantStatus,
};
use crate::manifest::Consistency;

/// Tenants that changed while the backup was taken are expected in neither state; OFFLOADED ones and those on their
/// way between two states are not compared, because neither is in the backup.
pub(super) fn tenant_findings(
    collection: &str,
    expected: &CollectionExpectation,
    now: &BTreeMap<String, TenantExpectation>,
    after: &AfterObservation,
    consistency: Consistency,
    found: &mut Vec<Finding>,
) {
    for (tenant, was) in &expected.tenants {
        let (changed, count_after) = match after {
            AfterObservation::NodeGone { .. } => (false, None),
            AfterObservation::Node { tenant_counts, tenants_changed, .. } => (
                tenants_changed.get(collection).is_some_and(|c| c.contains(tenant)),
                tenant_counts.get(collection).and_then(|counts| counts.get(tenant)).copied(),
            ),
        };
        let compared = match &was.status {
            TenantStatus::Active | TenantStatus::Inactive => !changed,
            TenantStatus::Offloaded | TenantStatus::Other(_) => false,
        };
        if !compared {
            continue;
        }
        let (collection, tenant) = (collection.to_owned(), tenant.clone());
        let Some(is) = now.get(&tenant) else {
            found.push(Finding::TenantMissing { collection, tenant });
            continue;
        };
        if is.status != was.status {
            let (expected, restored) = (was.status.to_string(), is.status.to_string());
            found.push(Finding::TenantStatusDiffers { collection, tenant, expected, restored });
            continue;
        }
        let Some(before) = was.count else { continue };
        let expected = allowed(consistency, before, count_after);
        let restored = is.count.unwrap_or(0);
        if !expected.admits(restored) {
            found.push(Finding::CountDiffers { collection, tenant: Some(tenant), expected, restored });
        }
    }
}

pub(super) fn canary_findings(
    seen: &Observed,
    expectations: &Expectations,
    after: &ObservedAfter,
    consistency: Consistency,
    found: &mut Vec<Finding>,
) {
    let usable = usable(expectations, after);
    if usable.canaries.is_empty() {
        // Where every tenant sleeps nothing can be asked without waking one: definitions, tenants and hashes are all there is.
        if expectations.objects() > 0 {
            found.push(Finding::NoCanaryUsable);
        }
        return;
    }
    let expected: BTreeMap<CanaryName, _> = canaries(expectations).collect();
    let mut differing = Vec::new();
    let mut proven: BTreeSet<&str> = BTreeSet::new();
    for wanted in &usable.canaries {
        let (name, canary) = (&wanted.name, expected[&wanted.name]);
        match seen.canaries.get(name).and_then(Option::as_ref) {
            None => differing.push(Finding::CanaryMissing { canary: name.clone() }),
            Some(now) if !now.is(canary) => differing.push(Finding::CanaryChanged { canary: name.clone() }),
            Some(now) => {
                proven.insert(&name.collection);
                if wanted.queries {
                    let changed = now.differing(canary);
                    differing
                        .extend(changed.map(|q| Finding::QueryDiffers { canary: name.clone(), query: kind_of(q) }));
                }
            }
        }
    }
    if consistency == Consistency::OneSided {
        // Nobody could say which objects changed before the snapshot: one that is the same proves its collection.
        differing.retain(|finding| finding_collection(finding).is_none_or(|c| !proven.contains(c)));
    }
    found.append(&mut differing);
}

fn finding_collection(finding: &Finding) -> Option<&str> {
    match finding {
        Finding::CanaryMissing { canary }
        | Finding::CanaryChanged { canary }
        | Finding::QueryDiffers { canary, .. } => Some(&canary.collection),
        Finding::NothingExpected
        | Finding::OtherBackup { .. }
        | Finding::NoCanaryUsable
        | Finding::CollectionMissing { .. }
        | Finding::CollectionExtra { .. }
        | Finding::DefinitionDiffers { .. }
        | Finding::CountDiffers { .. }
        | Finding::TenantMissing { .. }
        | Finding::TenantStatusDiffers { .. } => None,
    }
}

fn kind_of(query: &CanaryQuery) -> &'static str {
    match query {
        CanaryQuery::FilteredCount { .. } => "filtered_count",
        CanaryQuery::Bm25 { .. } => "bm25",
        CanaryQuery::NearObject { .. } => "near_object",
    }
}
