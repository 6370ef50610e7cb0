//! Activity of a tenant, in the names that clients send and in those that the server keeps.

/// Whether a tenant's data is in memory, on disk only, or not on this node at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Active,
    Inactive,
    Offloaded,
}

impl Activity {
    /// Reads the API's names, the old ones too. Empty means active.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" | "ACTIVE" | "HOT" => Self::Active,
            "INACTIVE" | "COLD" => Self::Inactive,
            "OFFLOADED" | "FROZEN" => Self::Offloaded,
            _ => return None,
        })
    }

    /// As the sharding state keeps it, and as 1.38.11 lists it, whatever name it was set with.
    pub(crate) fn stored(self) -> &'static str {
        match self {
            Self::Active => "HOT",
            Self::Inactive => "COLD",
            Self::Offloaded => "FROZEN",
        }
    }
}
