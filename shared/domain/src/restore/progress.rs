//! What Weaviate's answer to "how far is the restore" means: a hint, never proof (facts: weaviate.md §3, §8).

use std::time::Duration;

use crate::ids::BackupId;
use crate::weaviate::OperationStatus;

use super::{Refusal, Waiting};

/// How often Weaviate is asked for one restore, at most: again only when nothing at all came of the time before.
pub const RESTORE_ASKED_MAX: u32 = 3;

/// How long an asking without an answer may be under way in another invocation: Weaviate reads all descriptors before it
/// answers, and until then shows what another restore left, or nothing.
pub const ASKING_MAX: Duration = Duration::from_secs(120);

/// When a restore that is said to be under way is asked for again, in case the node was started anew and nobody saw it.
pub const ASKED_ANEW: Duration = Duration::from_secs(15 * 60);

/// How often Weaviate was asked, and how long an unanswered asking has been under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// How often.
    pub times: u32,
    /// Since the last asking, if nobody has recorded its answer.
    pub unanswered_for: Option<Duration>,
    /// How long ago the last asking was.
    pub ago: Duration,
    /// Whether the node was silent since: started anew, it has forgotten the restore, and the bucket says for ever how
    /// far it was.
    pub interrupted: bool,
    /// Whether all collections there are what this run itself asked for.
    pub only_ours: bool,
}

/// What to do about a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreStep {
    /// Ask Weaviate, after recording that it is asked.
    Ask,
    /// Look again.
    Wait(Waiting),
    /// Remove what a failed try of our own left, then look again: Weaviate restores over nothing.
    Clear,
    /// Weaviate says that it is done, and the collections are there: evidence is next.
    Prove,
    /// It will not come to a good end.
    Refuse(Refusal),
}

/// Decides from the status (`None`: Weaviate knows no restore of this id), Weaviate's error text, the collections that
/// the node shows, and how it was asked.
///
/// `restore_config.json` lives in the backup's own prefix, so an end that this node never reached may be left over
/// from another restore: an end is believed only together with collections. Weaviate answers from memory while it
/// works, so after an end with no collections at all it is safe to ask again.
pub fn step(
    backup_id: &BackupId,
    status: Option<&OperationStatus>,
    error: &str,
    collections: &[String],
    asked: Asked,
) -> RestoreStep {
    use OperationStatus as S;
    let failed = |status: &str, error: &str| {
        RestoreStep::Refuse(Refusal::RestoreFailed {
            backup_id: backup_id.to_string(),
            status: status.to_owned(),
            error: error.to_owned(),
        })
    };
    let ask_again = |status: &str, error: &str| match asked.times {
        _ if asked.unanswered_for.is_some_and(|since| since < ASKING_MAX) => {
            RestoreStep::Wait(Waiting::Restore { status: "being asked".to_owned() })
        }
        0..RESTORE_ASKED_MAX => RestoreStep::Ask,
        _ => failed(status, if error.is_empty() { "nothing was restored" } else { error }),
    };
    match status {
        _ if asked.times == 0 => RestoreStep::Ask,
        Some(S::Success) if !collections.is_empty() => RestoreStep::Prove,
        // A try of ours failed half-way, or was cancelled: cleared, it may be asked again.
        Some(S::Failed | S::Canceled)
            if !collections.is_empty() && asked.only_ours && asked.times < RESTORE_ASKED_MAX =>
        {
            RestoreStep::Clear
        }
        Some(status @ (S::Failed | S::Canceled)) if !collections.is_empty() => failed(&format!("{status:?}"), error),
        // An end without collections: left over from another restore, or ours failed before anything was applied.
        Some(S::Failed) if !error.is_empty() && asked.times > 1 && asked.unanswered_for.is_none() => {
            failed("Failed", error)
        }
        Some(status @ (S::Success | S::Failed | S::Canceled)) => ask_again(&format!("{status:?}"), error),
        None => ask_again("unknown to Weaviate", error),
        // Nobody here cancels: it was left over, and whatever is asked under it comes to nothing.
        Some(S::Cancelling) => failed("Cancelling", "a cancel that nobody here asked for"),
        // A node that was started anew says for ever how far it was. Where it goes on after all, Weaviate refuses to be
        // asked twice, which costs nothing.
        Some(S::Started | S::Transferring | S::Transferred | S::Finalizing)
            if (asked.interrupted || asked.ago >= ASKED_ANEW) && asked.times < RESTORE_ASKED_MAX =>
        {
            RestoreStep::Ask
        }
        Some(S::Started | S::Transferring | S::Transferred | S::Finalizing) => {
            RestoreStep::Wait(Waiting::Restore { status: format!("{:?}", status.unwrap_or(&S::Started)) })
        }
        Some(S::Unknown(text)) => RestoreStep::Wait(Waiting::Restore { status: format!("unknown status {text}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OperationStatus as S;

    fn decide(status: Option<S>, error: &str, collections: &[&str], times: u32) -> RestoreStep {
        asking(status, error, collections, asked(times))
    }

    fn asked(times: u32) -> Asked {
        Asked { times, unanswered_for: None, ago: Duration::ZERO, interrupted: false, only_ours: false }
    }

    fn asking(status: Option<S>, error: &str, collections: &[&str], asked: Asked) -> RestoreStep {
        let collections: Vec<String> = collections.iter().map(|c| (*c).to_owned()).collect();
        step(&BackupId::parse("b").unwrap(), status.as_ref(), error, &collections, asked)
    }

    #[test]
    fn a_success_left_over_from_another_restore_is_not_believed() {
        assert_eq!(decide(Some(S::Success), "", &[], 0), RestoreStep::Ask);
        assert_eq!(decide(Some(S::Success), "", &[], 1), RestoreStep::Ask);
        assert_eq!(decide(Some(S::Success), "", &["A"], 1), RestoreStep::Prove);
        assert!(matches!(decide(Some(S::Success), "", &[], 3), RestoreStep::Refuse(_)));
    }

    #[test]
    fn while_another_invocation_may_still_be_asking_nothing_is_asked_and_nothing_refused() {
        for status in [None, Some(S::Success), Some(S::Failed), Some(S::Canceled)] {
            for times in 1..=3 {
                let young = Asked { unanswered_for: Some(ASKING_MAX - Duration::from_secs(1)), ..asked(times) };
                let step = asking(status.clone(), "left over", &[], young);
                assert!(matches!(step, RestoreStep::Wait(_)), "{status:?} {step:?}");
            }
        }
        let lost = |times| asking(None, "", &[], Asked { unanswered_for: Some(ASKING_MAX), ..asked(times) });
        assert_eq!(lost(1), RestoreStep::Ask);
        assert!(matches!(lost(3), RestoreStep::Refuse(_)));
    }

    #[test]
    fn a_restore_under_way_is_waited_for_and_an_unknown_status_is_neither_end() {
        for status in [S::Started, S::Transferring, S::Transferred, S::Finalizing, S::Unknown("X".into())] {
            assert!(matches!(decide(Some(status), "", &[], 1), RestoreStep::Wait(_)));
        }
    }

    #[test]
    fn a_node_that_was_silent_is_asked_again_and_where_it_goes_on_after_all_it_is_waited_for() {
        for status in [S::Started, S::Transferring, S::Transferred, S::Finalizing] {
            let after = |times| Asked { interrupted: true, ..asked(times) };
            assert_eq!(asking(Some(status.clone()), "", &["A"], after(1)), RestoreStep::Ask);
            assert!(matches!(asking(Some(status.clone()), "", &["A"], after(3)), RestoreStep::Wait(_)));
            let long_ago = Asked { ago: ASKED_ANEW, ..asked(1) };
            assert_eq!(asking(Some(status), "", &[], long_ago), RestoreStep::Ask);
        }
    }

    #[test]
    fn only_what_a_failed_try_of_our_own_left_is_cleared_away() {
        for status in [S::Failed, S::Canceled] {
            let ours = |times| Asked { only_ours: true, ..asked(times) };
            assert_eq!(asking(Some(status.clone()), "A exists", &["A"], ours(1)), RestoreStep::Clear);
            assert!(matches!(asking(Some(status.clone()), "A exists", &["A"], ours(3)), RestoreStep::Refuse(_)));
            assert!(matches!(decide(Some(status), "A exists", &["A"], 1), RestoreStep::Refuse(_)));
        }
    }

    #[test]
    fn a_failure_that_left_something_behind_is_final() {
        assert!(matches!(decide(Some(S::Failed), "class X exists", &["A"], 1), RestoreStep::Refuse(_)));
        assert!(matches!(decide(Some(S::Failed), "gzip: invalid checksum", &[], 2), RestoreStep::Refuse(_)));
        assert!(matches!(decide(Some(S::Cancelling), "", &[], 1), RestoreStep::Refuse(_)));
    }

    #[test]
    fn evidence_is_never_asked_for_without_an_end() {
        for asked in 0..5 {
            for status in [None, Some(S::Started), Some(S::Failed), Some(S::Unknown("SUCCESS ".into()))] {
                assert_ne!(decide(status, "", &["A"], asked), RestoreStep::Prove);
            }
        }
    }
}
