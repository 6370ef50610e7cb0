//! What people and prune said of a backup, read from the names of its evidence alone.

use jiff::Timestamp;

use crate::keys::Key;

/// How a backup stands. Of each pair (pin and unpin, exclude and include, tombstone and reprieve) the newer one holds,
/// and of two of the same second the one that keeps the backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The newest of each kind, by the date in its name.
    newest: Vec<(String, Timestamp)>,
}

impl Standing {
    /// Takes in a key; what is not evidence is passed over.
    pub fn take(&mut self, key: &Key) {
        let Key::Evidence(_, kind, at) = key else { return };
        match self.newest.iter_mut().find(|(k, _)| k == kind) {
            Some((_, newest)) => *newest = (*newest).max(*at),
            None => self.newest.push((kind.clone(), *at)),
        }
    }

    /// The date of the newest evidence of a kind.
    pub fn newest(&self, kind: &str) -> Option<Timestamp> {
        self.newest.iter().find(|(k, _)| k == kind).map(|(_, at)| *at)
    }

    /// Whether people pinned it.
    pub fn pinned(&self) -> bool {
        self.newest("pin").is_some_and(|at| self.newest("unpin").is_none_or(|un| un <= at))
    }

    /// Whether people excluded it from being restored by itself.
    pub fn excluded(&self) -> bool {
        self.newest("exclude").is_some_and(|at| self.newest("include").is_none_or(|back| back < at))
    }

    /// The date of the tombstone that stands: whoever wants to use the backup must not.
    pub fn tombstone(&self) -> Option<Timestamp> {
        self.newest("tombstone").filter(|at| self.newest("reprieve").is_none_or(|back| back < *at))
    }

    /// When its data was deleted.
    pub fn deleted(&self) -> Option<Timestamp> {
        self.newest("deleted")
    }

    /// The decision that a later look at it came to, if any: `publish`, `hold` or `refuse`.
    pub fn later_decision(&self) -> Option<&str> {
        let decisions = self.newest.iter().filter(|(kind, _)| matches!(kind.as_str(), "publish" | "hold" | "refuse"));
        decisions.max_by_key(|(_, at)| *at).map(|(kind, _)| kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(names: &[&str]) -> Standing {
        let mut standing = Standing::default();
        for name in names {
            let key = Key::parse(&format!("manifests/b_1/evidence/{name}.json"));
            standing.take(&key.unwrap_or_else(|| panic!("{name}")));
        }
        standing
    }

    #[test]
    fn the_newer_of_a_pair_holds_and_in_doubt_the_one_that_keeps_the_backup() {
        let (early, late) = ("2026-11-20t010203z", "2026-11-20t010204z");
        for (does, undoes, of) in [
            ("pin", "unpin", Standing::pinned as fn(&Standing) -> bool),
            ("exclude", "include", Standing::excluded),
            ("tombstone", "reprieve", |s| s.tombstone().is_some()),
        ] {
            assert!(!of(&standing(&[])), "{does}");
            assert!(of(&standing(&[&format!("{does}-{early}")])), "{does}");
            assert!(!of(&standing(&[&format!("{does}-{early}"), &format!("{undoes}-{late}")])), "{does}");
            let again = [format!("{does}-{late}"), format!("{undoes}-{early}"), format!("{does}-{early}")];
            assert!(of(&standing(&again.each_ref().map(String::as_str))), "{does}");
            let same = standing(&[&format!("{does}-{late}"), &format!("{undoes}-{late}")]);
            assert_eq!(of(&same), does == "pin", "{does}");
        }
    }

    #[test]
    fn the_newest_of_the_later_decisions_holds() {
        assert_eq!(standing(&["verify-2026-11-20t010203z"]).later_decision(), None);
        let both = standing(&["publish-2026-11-20t010203z", "refuse-2026-11-20t010204z"]);
        assert_eq!(both.later_decision(), Some("refuse"));
    }
}
