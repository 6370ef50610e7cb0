//! The server version that the double plays, and what each version can do (first releases as listed in the
//! project's notes on Weaviate, section 10 and 11).

use std::str::FromStr;

/// What a test looks at to tell this double from a real server: `gitHash` in `/v1/nodes`. It is not hexadecimal, so no real server can report it.
pub(crate) const GIT_HASH: &str = "lifeboat-double";

/// A Weaviate version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
    text: String,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let core = text.split('-').next().unwrap_or_default();
        let mut parts = core.split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => {
                Ok(Self { major, minor, patch, text: text.to_owned() })
            }
            _ => Err(format!("not a version: {text:?}")),
        }
    }
}

impl Version {
    /// As it was given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn at_least(&self, minor: u32, patch: u32) -> bool {
        (self.major, self.minor, self.patch) >= (1, minor, patch)
    }

    /// `GET /v1/backups/{backend}` works (before, it is a stub that answers 500).
    pub(crate) fn lists_backups(&self) -> bool {
        self.at_least(32, 0)
    }

    /// `DELETE …/restore` exists (before: 405).
    pub(crate) fn cancels_restores(&self) -> bool {
        self.at_least(36, 0)
    }

    /// `include` and `exclude` know `*` and `?`.
    pub(crate) fn expands_wildcards(&self) -> bool {
        self.at_least(36, 0)
    }

    /// Timestamps in create status.
    pub(crate) fn status_has_times(&self) -> bool {
        self.at_least(33, 0)
    }

    /// `BACKUP_SKIP_ACCESS_CHECK` is read.
    pub(crate) fn skips_access_check(&self) -> bool {
        self.at_least(38, 1) || (self.minor == 37 && self.at_least(37, 8))
    }

    /// Every status GET reads the descriptor first, for authorisation.
    pub(crate) fn status_reads_store(&self) -> bool {
        self.at_least(38, 2) || (self.minor == 37 && self.patch >= 10) || (self.minor == 36 && self.patch >= 19)
    }

    /// Failure reasons outlive the slot, and a lost `backup.json` is a failure: 1.38.10 and later, not 1.39.0.
    pub(crate) fn keeps_failures(&self) -> bool {
        self.at_least(39, 1) || (self.minor == 38 && self.patch >= 10)
    }

    /// Inactive tenants are part of a backup.
    pub(crate) fn backs_up_inactive_tenants(&self) -> bool {
        self.at_least(37, 0) || (self.minor == 36 && self.patch >= 10) || (self.minor == 35 && self.patch >= 17)
    }

    /// Names that differ only in case, and aliases, block a restore: seen on 1.38.11 and 1.39.0; earlier ones were not run.
    pub(crate) fn class_names_fold_case(&self) -> bool {
        self.at_least(38, 11)
    }

    /// Without RBAC `rbacBackups` is an empty text, not null: seen on 1.39.0.
    pub(crate) fn writes_no_roles_as_empty(&self) -> bool {
        self.at_least(39, 0)
    }

    /// Backups by servers older than 1.23 are refused by name.
    pub(crate) fn refuses_legacy_backups(&self) -> bool {
        self.at_least(38, 8)
    }

    /// The REST search routes exist at all.
    ///
    /// `aggregate`, `bm25` and `near-object` are in 1.38.10 and 1.38.11 and not in 1.39.0, as runs of both have shown.
    pub(crate) fn has_rest_search(&self) -> bool {
        self.at_least(39, 1) || (self.minor == 38 && self.patch >= 10)
    }

    /// `/v1/search/{class}/near-text` exists behind its flag, and so ReadOnly lets every `/v1/search` through. The double
    /// does not play near-text itself: it is 404, as the routes beside it are in 1.39.0.
    pub(crate) fn has_near_text(&self) -> bool {
        self.at_least(38, 6)
    }

    /// `includeRoles` is read: 1.38.10 and later, not 1.39.0, which ignores it.
    pub(crate) fn chooses_roles(&self) -> bool {
        self.keeps_failures()
    }

    /// Fields of an operation's state that the refusal of an unknown id prints empty.
    pub(crate) fn blanks_in_state(&self) -> &'static str {
        if self.minor == 39 && self.patch == 0 { "     " } else { "      " }
    }

    /// The REST search routes answer without the experimental flag.
    pub(crate) fn rest_search_by_default(&self) -> bool {
        self.at_least(39, 7)
    }

    /// Operational modes exist.
    pub(crate) fn has_modes(&self) -> bool {
        self.at_least(34, 5)
    }

    /// The distance that `nearObject` gives the object itself: not quite 0 since 1.39.0.
    pub(crate) fn own_distance(&self) -> f32 {
        if self.at_least(39, 0) { 5.960_464_5e-8 } else { 0.0 }
    }

    /// First path segments that ReadOnly lets through.
    pub(crate) fn read_only_whitelist(&self) -> &'static [&'static str] {
        if self.at_least(37, 0) { &["backups", "graphql", "mcp"] } else { &["backups", "graphql"] }
    }
}
