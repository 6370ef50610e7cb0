use super::*;
use crate::verify::sample::{at, id};

const HOUR: i64 = 3600;

fn row(key: &str, size_bytes: u64) -> CatalogueRow {
    CatalogueRow {
        key: key.into(),
        size_bytes,
        sha256: Sha256Digest::of(key.as_bytes()),
        etag: "\"e\"".into(),
        version_id: Some("v".into()),
    }
}

fn protected(name: &str, verified_at: i64, rows: &[CatalogueRow]) -> Protected {
    Protected { backup_id: id(name), verified_at: at(verified_at), size_bytes: rows.iter().map(|r| r.size_bytes).sum() }
}

/// When each object was read, and each slice with its bytes.
type Readings = (BTreeMap<String, Vec<i64>>, Vec<(i64, u64)>);

/// Reads slice after slice as the workflow does, looking every minute, and gives when each object was read.
fn simulate(backups: &BTreeMap<&str, Vec<CatalogueRow>>, policy: Policy, days: i64) -> Readings {
    let mut run = FixityRun::default();
    let protected: Vec<Protected> = backups.iter().map(|(name, rows)| protected(name, 0, rows)).collect();
    let total = protected.iter().map(|p| p.size_bytes).sum();
    let (mut read, mut slices) = (BTreeMap::<String, Vec<i64>>::new(), Vec::new());
    for minute in 0..days * 24 * 60 {
        let (second, now) = (minute * 60, at(minute * 60));
        if !is_due(&run, policy, now) {
            continue;
        }
        run.looked(&protected, policy, now);
        let mut due = run.clone();
        due.next_at = None;
        let Some(choice) = choose(&due, &protected, policy, now) else { continue };
        let all = &backups[choice.backup_id.as_str()];
        let cut = cut(all, choice.after.as_deref(), choice.budget_bytes);
        for row in cut {
            read.entry(row.key.clone()).or_default().push(second);
        }
        slices.push((second, cut.iter().map(|r| r.size_bytes).sum()));
        run.begin(&choice, all, cut, now);
        assert_eq!(rows_of(all, run.open.as_ref().unwrap()), cut);
        run.end(&[], (total, now), policy, now).unwrap();
    }
    (read, slices)
}

#[test]
fn everything_is_read_once_in_a_period_and_no_hour_has_much_more_to_read_than_another() {
    let rows = |name: &str, count: u64, size: u64| -> Vec<CatalogueRow> {
        (0..count).map(|n| row(&format!("backups/{name}/{n:05}"), size + n % 7)).collect()
    };
    let backups =
        BTreeMap::from([("a", rows("a", 3000, 1000)), ("b", rows("b", 10, 90_000)), ("c", rows("c", 500, 20))]);
    let policy = Policy { period: Duration::from_hours(30 * 24), look_every: Duration::from_hours(1) };
    let (read, slices) = simulate(&backups, policy, 150);
    let total: u64 = backups.values().flatten().map(|r| r.size_bytes).sum();
    for key in backups.values().flatten().map(|r| &r.key) {
        let times = &read[key];
        let mut before = 0;
        for time in times {
            let gap = time - before;
            assert!(gap <= (30 * 24 + 6) * HOUR, "{key}: {} h without a reading", gap / HOUR);
            assert!(gap >= 14 * 24 * HOUR, "{key}: read again after {} h", gap / HOUR);
            before = *time;
        }
        assert!(150 * 24 * HOUR - before <= (30 * 24 + 6) * HOUR, "{key} is forgotten");
    }
    let budget = total / (15 * 24) + 1;
    let mut hours: BTreeMap<i64, u64> = BTreeMap::new();
    for (second, bytes) in slices {
        *hours.entry(second / HOUR).or_default() += bytes;
    }
    let most = hours.values().max().unwrap();
    assert!(*most <= 2 * budget + 90_000, "{most} bytes in one hour, {budget} on average");
}

#[test]
fn nothing_is_read_before_it_is_due_and_nothing_at_all_where_the_period_is_zero() {
    let rows = [row("backups/a/1", 10)];
    let (policy, backup) = (Policy::default(), [protected("a", 0, &rows)]);
    let run = FixityRun::default();
    assert_eq!(choose(&run, &backup, policy, at(15 * 24 * HOUR - 1)), None);
    let choice = choose(&run, &backup, policy, at(15 * 24 * HOUR)).unwrap();
    assert_eq!((choice.backup_id.as_str(), choice.after, choice.asked), ("a", None, false));
    let off = Policy { period: Duration::ZERO, ..policy };
    assert!(!is_due(&run, off, at(900 * 24 * HOUR)));
    assert_eq!(choose(&run, &backup, off, at(900 * 24 * HOUR)), None);
    assert_eq!(choose(&run, &[], policy, at(900 * 24 * HOUR)), None);
}

#[test]
fn what_a_person_asks_for_is_read_whole_and_at_once_also_where_the_period_is_zero() {
    let rows: Vec<CatalogueRow> = (0..9).map(|n| row(&format!("backups/a/{n}"), 1 << 40)).collect();
    let backup = [protected("a", 0, &rows)];
    let policy = Policy { period: Duration::ZERO, ..Policy::default() };
    let mut run = FixityRun { asked: vec![id("a")], next_at: Some(at(99)), ..FixityRun::default() };
    assert!(is_due(&run, policy, at(1)));
    let choice = choose(&run, &backup, policy, at(1)).unwrap();
    assert_eq!(cut(&rows, choice.after.as_deref(), choice.budget_bytes).len(), 9);
    run.begin(&choice, &rows, &rows, at(1));
    assert!(!is_due(&run, policy, at(1)), "one at a time");
    assert!(run.open.as_ref().is_some_and(|slice| slice.completes && slice.asked && is_slice(&slice.name)));
    run.end(&[], (9 << 40, at(2)), policy, at(2)).unwrap();
    assert_eq!((run.asked.len(), run.next_at), (0, Some(at(99))), "the pace of the others is as it was");
    assert_eq!(run.sweeps[&id("a")].completed_at, Some(at(2)));
}

#[test]
fn a_finding_stands_until_a_full_reading_finds_nothing() {
    let rows = [row("backups/a/1", 10), row("backups/a/2", 10)];
    let (policy, backup) = (Policy::default(), [protected("a", 0, &rows)]);
    let mut run = FixityRun::default();
    let slice = |run: &mut FixityRun, after: Option<&str>, finding: Option<Finding>, second: i64| {
        let choice = Choice { backup_id: id("a"), after: after.map(str::to_owned), budget_bytes: 1, asked: false };
        let part = cut(&rows, after, 1);
        run.begin(&choice, &rows, part, at(second));
        let findings: Vec<Finding> = finding.into_iter().collect();
        run.end(&findings, (20, at(second)), policy, at(second)).unwrap()
    };
    let bad = Finding::Vanished { key: "backups/a/1".into() };
    slice(&mut run, None, Some(bad), 1);
    assert_eq!(run.failing[&id("a")].len(), 1);
    let whole = slice(&mut run, Some("backups/a/1"), None, 2);
    assert_eq!((whole.objects, whole.reasons.len()), (2, 1), "the end of a reading knows what its beginning found");
    assert_eq!(run.failing.len(), 1, "the rest was clean, the backup is not");
    slice(&mut run, None, None, 3);
    assert_eq!(run.failing.len(), 1);
    slice(&mut run, Some("backups/a/1"), None, 4);
    assert_eq!(run.failing.len(), 0, "a full reading found nothing");
    run.failing.insert(id("gone"), vec![]);
    run.looked(&backup, policy, at(5));
    assert_eq!(run.failing.len(), 0, "what is no longer protected is no longer told");
}

#[test]
fn bytes_that_are_not_the_catalogues_are_found_by_name() {
    let rows = [row("backups/a/1", 10), row("backups/a/2", 10)];
    let fold = |rows: Vec<CatalogueRow>| Fold { rows, findings: vec![], notes: vec![] };
    assert_eq!(compare(&rows, fold(rows.to_vec())), []);
    let mut changed = rows.to_vec();
    changed[1].sha256 = Sha256Digest::of(b"other");
    let findings = compare(&rows, fold(changed));
    assert!(matches!(&findings[..], [Finding::Sha256Differs { key, .. }] if key == "backups/a/2"), "{findings:?}");
    let strange = compare(&rows[..1], fold(rows.to_vec()));
    assert!(matches!(&strange[..], [Finding::Unexplained { .. }]), "{strange:?}");
    let mut lost = fold(rows.to_vec());
    lost.findings.push(Finding::Changed { key: "k".into() });
    assert_eq!(compare(&rows, lost).len(), 1);
}
