//! Activity of a tenant, in the names of the API and of the sharding state.

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

    /// As the API prints it.
    pub(crate) fn api(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Offloaded => "OFFLOADED",
        }
    }

    /// As the sharding state keeps it.
    pub(crate) fn stored(self) -> &'static str {
        match self {
            Self::Active => "HOT",
            Self::Inactive => "COLD",
            Self::Offloaded => "FROZEN",
        }
    }
}
