use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400;

fn t0() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn days_ago(days: i64) -> Timestamp {
    t0() - SignedDuration::from_secs(days * DAY)
}

fn id(n: usize) -> BackupId {
    BackupId::parse(&format!("b_{n}")).unwrap()
}

fn published(n: usize, age_days: i64) -> Backup {
    Backup {
        id: id(n),
        data: Some(days_ago(age_days)),
        manifest: Some(Known {
            data_as_of: days_ago(age_days),
            is_final: false,
            published: true,
            held: false,
            base: None,
        }),
        ours: true,
        pinned: false,
        excluded: false,
        tombstone: None,
        deleted: None,
        drilled: None,
    }
}

fn unpublished(n: usize, age_days: i64) -> Backup {
    let mut backup = published(n, age_days);
    backup.manifest.as_mut().unwrap().published = false;
    backup
}

fn world(backups: Vec<Backup>) -> World {
    World { pointer: backups.first().map(|b| b.id.clone()), backups, ..World::default() }
}

fn of_last(last: u32) -> Policy {
    Policy { last, daily: 0, weekly: 0, monthly: 0, published_min: 0, ..Policy::default() }
}

fn acts(world: &World, policy: &Policy) -> Vec<(String, &'static str)> {
    let plan = plan(world, policy, t0()).unwrap();
    let name = |act: &Act| match act {
        Act::Bury { .. } => "bury",
        Act::Reprieve { .. } => "reprieve",
        Act::DeleteData => "delete data",
        Act::DeleteEvidence => "delete evidence",
    };
    plan.acts.iter().map(|(id, act)| (id.to_string(), name(act))).collect()
}

#[test]
fn the_policy_keeps_the_last_and_the_newest_of_each_day_week_and_month() {
    let backups: Vec<Backup> = (0..400).map(|n| published(n, i64::try_from(n).unwrap())).collect();
    let policy = Policy { last: 3, daily: 5, weekly: 3, monthly: 4, ..Policy::default() };
    let plan = plan(&world(backups), &policy, t0()).unwrap();
    // 2026-11-20 is a Friday: the weeks' newest are today and the two Sundays before; the months' the 20th and the last
    // days of October, September and August.
    let stays: BTreeSet<String> = plan.stays.keys().map(ToString::to_string).collect();
    let expected = [0, 1, 2, 3, 4, 5, 12, 20, 51, 81].map(|n: usize| id(n).to_string());
    assert_eq!(stays, expected.into_iter().collect::<BTreeSet<_>>());
    assert_eq!(plan.acts.len(), 390);
}

#[test]
fn each_reason_of_protection_alone_keeps_a_backup_that_no_row_of_the_policy_asks_for() {
    let old = 2;
    type Protect = fn(&mut World);
    let cases: [(Protection, Protect); 10] = [
        (Protection::Pointer, |w| w.pointer = Some(id(2))),
        (Protection::Previous, |w| w.previous = Some(id(2))),
        (Protection::Owner, |w| w.owner = Some(id(2))),
        (Protection::InUse, |w| w.in_use.push(id(2))),
        (Protection::Unverified, |w| w.unverified.push(id(2))),
        (Protection::Pinned, |w| w.backups[2].pinned = true),
        (Protection::Held, |w| w.backups[2].manifest.as_mut().unwrap().held = true),
        (Protection::NewestFinal, |w| w.backups[2].manifest.as_mut().unwrap().is_final = true),
        (Protection::NewestDrilled, |w| w.backups[2].drilled = Some(days_ago(40))),
        (Protection::Base, |w| w.backups[0].manifest.as_mut().unwrap().base = Some(id(2))),
    ];
    let start = || world(vec![published(0, 0), published(1, 1), published(old, 100)]);
    assert_eq!(acts(&start(), &of_last(2)), [("b_2".to_owned(), "bury")]);
    for (why, protect) in cases {
        let mut world = start();
        protect(&mut world);
        world.backups[2].tombstone = Some(days_ago(50));
        let plan = plan(&world, &of_last(2), t0()).unwrap();
        let Some(Act::Reprieve { reason }) = plan.acts.get(&id(2)) else { panic!("{why}: {plan:?}") };
        assert!(reason.contains(&why.to_string()), "{why}: {reason}");
    }
    let mut foreign = start();
    foreign.backups[2].manifest = None;
    foreign.backups[2].ours = false;
    let plan = plan(&foreign, &of_last(2), t0()).unwrap();
    assert_eq!(plan.stays[&id(2)], [Protection::NotOurs.to_string()]);
}

#[test]
fn a_chain_stays_to_its_end_with_the_newest_that_stands_on_it() {
    let mut backups: Vec<Backup> = (0..5).map(|n| published(n, i64::try_from(n).unwrap() * 50)).collect();
    for (n, backup) in backups.iter_mut().enumerate().take(4) {
        backup.manifest.as_mut().unwrap().base = Some(id(n + 1));
    }
    assert_eq!(acts(&world(backups), &of_last(1)), []);
}

#[test]
fn nothing_is_deleted_before_its_tombstone_has_stood_for_the_grace() {
    let with = |tombstone| {
        let mut old = published(1, 100);
        old.tombstone = tombstone;
        world(vec![published(0, 0), old])
    };
    let almost = t0() - SignedDuration::from_secs(DAY) + SignedDuration::from_millis(1);
    assert_eq!(acts(&with(None), &of_last(1)), [("b_1".to_owned(), "bury")]);
    assert_eq!(acts(&with(Some(almost)), &of_last(1)), []);
    assert_eq!(acts(&with(Some(days_ago(1))), &of_last(1)), [("b_1".to_owned(), "delete data")]);
}

#[test]
fn what_was_never_published_stays_for_whoever_looks_into_it_and_then_goes_the_same_way() {
    let mut failed = unpublished(2, 14);
    failed.manifest = None;
    let all = vec![published(0, 0), unpublished(1, 13), failed];
    assert_eq!(acts(&world(all), &of_last(1)), [("b_2".to_owned(), "bury")]);
}

#[test]
fn evidence_outlives_the_data_and_then_goes() {
    let mut gone = published(1, 500);
    gone.data = None;
    gone.deleted = Some(days_ago(399));
    assert_eq!(acts(&world(vec![published(0, 0), gone.clone()]), &of_last(1)), []);
    gone.deleted = Some(days_ago(400));
    assert_eq!(acts(&world(vec![published(0, 0), gone.clone()]), &of_last(1)), [("b_1".to_owned(), "delete evidence")]);
    gone.pinned = true;
    assert_eq!(acts(&world(vec![published(0, 0), gone]), &of_last(1)), []);
}

#[test]
fn an_excluded_backup_takes_no_row_from_a_good_one() {
    let mut newest = published(1, 1);
    newest.excluded = true;
    let all = vec![published(0, 0), newest, published(2, 2)];
    assert_eq!(acts(&world(all), &of_last(2)), [("b_1".to_owned(), "bury")]);
}

#[test]
fn nothing_at_all_is_deleted_when_what_is_latest_is_not_known() {
    let start = || world(vec![published(0, 0), published(1, 100)]);
    let mut unreadable = start();
    unreadable.unreadable.push("manifests/b_9/manifest.json".into());
    let mut none = start();
    none.pointer = None;
    let mut dangling = start();
    dangling.pointer = Some(id(7));
    for (world, named) in [(unreadable, "manifests/b_9"), (none, "no pointer"), (dangling, "b_7")] {
        let refusal = plan(&world, &of_last(1), t0()).unwrap_err().to_string();
        assert!(refusal.contains(named), "{refusal}");
    }
    assert_eq!(plan(&World::default(), &of_last(1), t0()), Ok(Plan::default()));
}

prop_compose! {
    fn any_backup()(
        n in 0..12usize, age in 0..500i64, kind in 0..4u8, flags in any::<[bool; 5]>(), base in proptest::option::of(0..12usize),
        tombstone in proptest::option::of(0..40i64), drilled in proptest::option::of(0..400i64), deleted in proptest::option::of(0..500i64),
    ) -> Backup {
        let [data, pinned, excluded, is_final, ours] = flags;
        Backup {
            id: id(n),
            data: data.then(|| days_ago(age)),
            manifest: (kind < 3).then(|| Known {
                data_as_of: days_ago(age), is_final, published: kind == 0, held: kind == 1,
                base: base.filter(|b| *b != n).map(id),
            }),
            ours, pinned, excluded,
            tombstone: tombstone.map(days_ago), deleted: deleted.map(days_ago), drilled: drilled.map(days_ago),
        }
    }
}

prop_compose! {
    fn any_world()(
        backups in prop::collection::vec(any_backup(), 0..12),
        named in prop::collection::vec(0..12usize, 5),
        present in any::<[bool; 4]>(),
    ) -> World {
        let mut seen = BTreeSet::new();
        let backups: Vec<Backup> = backups.into_iter().filter(|b| seen.insert(b.id.clone())).collect();
        let [pointer, previous, owner, in_use] = present;
        World {
            pointer: pointer.then(|| id(named[0])), previous: previous.then(|| id(named[1])),
            owner: owner.then(|| id(named[2])), in_use: in_use.then(|| id(named[3])).into_iter().collect(),
            unverified: vec![id(named[4])], backups, ..World::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_history_the_protected_set_and_the_minimum_stay(world in any_world(), last in 0..4u32, min in 0..4u32) {
        let policy = Policy { last, daily: 2, weekly: 1, monthly: 1, published_min: min, ..Policy::default() };
        let Ok(plan) = plan(&world, &policy, t0()) else { return Ok(()) };
        let protected = protected(&world);
        let losing = |act: &Act| matches!(act, Act::Bury { .. } | Act::DeleteData | Act::DeleteEvidence);
        for (id, act) in &plan.acts {
            let backup = world.backups.iter().find(|b| b.id == *id).unwrap();
            prop_assert!(!(losing(act) && backup.data.is_some() && protected.contains_key(id)), "{id}: {act:?}");
            prop_assert!(!(*act == Act::DeleteEvidence && protected.contains_key(id)), "{id}: {act:?}");
            if *act == Act::DeleteData && backup.data.is_some() {
                prop_assert!(backup.tombstone.is_some_and(|at| at <= days_ago(1)));
            }
            let stands = |b: &Backup| b.data.is_some() && b.manifest.as_ref().is_some_and(|k| k.base.as_ref() == Some(id));
            prop_assert!(!(*act == Act::DeleteData && backup.data.is_some() && world.backups.iter().any(stands)), "{id} is a base");
        }
        let good = |b: &&Backup| b.data.is_some() && !b.excluded && b.manifest.as_ref().is_some_and(|k| k.published);
        let had = world.backups.iter().filter(good).count();
        let left = world.backups.iter().filter(good).filter(|b| !plan.acts.get(&b.id).is_some_and(losing)).count();
        prop_assert!(left >= had.min(min as usize));
        prop_assert_eq!(plan.acts.len() + plan.stays.len(), world.backups.len());
    }

    #[test]
    fn the_order_in_which_backups_are_listed_changes_nothing(world in any_world()) {
        let mut reversed = world.clone();
        reversed.backups.reverse();
        prop_assert_eq!(plan(&world, &Policy::default(), t0()), plan(&reversed, &Policy::default(), t0()));
    }

    #[test]
    fn a_longer_grace_never_deletes_more(world in any_world(), hours in 0..200u64) {
        let with = |hours: u64| Policy { grace: Duration::from_secs(hours * 3_600), ..of_last(1) };
        let (Ok(short), Ok(long)) = (plan(&world, &with(hours), t0()), plan(&world, &with(hours + 24), t0())) else { return Ok(()) };
        let deletes = |p: &Plan| p.acts.iter().filter(|(_, a)| **a == Act::DeleteData).map(|(id, _)| id.clone()).collect::<BTreeSet<_>>();
        prop_assert!(deletes(&long).is_subset(&deletes(&short)));
    }
}
