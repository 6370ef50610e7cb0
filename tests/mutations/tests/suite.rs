//! Every change is noticed, every check is needed.

use lifeboat_mutations::changes::Manner;
use lifeboat_mutations::checks;
use lifeboat_mutations::judge::Stage;
use lifeboat_mutations::suite::{excused, failures, run, table};

#[test]
fn whatever_is_changed_is_noticed_and_every_check_is_the_first_to_notice_something() {
    let rows = run();
    eprintln!("{}", table(&rows));
    let failures_of_all = failures(&rows, None);
    assert!(failures_of_all.is_empty(), "{failures_of_all:#?}");
    assert!(rows.len() > 900, "{}", rows.len());
    // What nobody could know is bounded: only by who may rewrite everything and erase every trace.
    for row in rows.iter().filter(|row| row.verdict.stage == Stage::Through) {
        let lost = row.verdict.same_data == Some(false);
        assert!(!lost || row.manner == Some(Manner::ResealedErased), "{row:?} {:?}", excused(row));
    }
    // A verifier whose finding of one kind goes unheard lets something through, whichever kind it is.
    let beyond: Vec<&str> = checks::BEYOND.iter().map(|(check, _)| *check).collect();
    for check in checks::all().iter().filter(|check| !beyond.contains(&check.as_str())) {
        let missed = failures(&rows, Some(check));
        let let_through = missed.iter().filter(|f| f.starts_with("nobody noticed")).count();
        assert!(let_through > 0, "without {check} nothing is let through");
    }
}
