//! How servers are set up: for a case, and for a whole run.

/// How the server of a case is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Anonymous access, `backup-s3`.
    Plain,
    /// API keys and an admin list by configuration file, as the product sets it up.
    Keys,
    /// API keys and RBAC.
    Rbac,
    /// A bucket that does not exist.
    NoBucket,
    /// The smallest chunks, so that files have chunks of their own.
    SmallChunks,
    /// A server whose operational mode is switched while it runs.
    Modes,
}

/// A configuration that the whole suite is run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Config {
    /// As a server comes.
    Default,
    /// `DISABLE_GRAPHQL=true`.
    NoGraphql,
    /// `operational_mode: ReadOnly` whenever something is observed; what a case needs beforehand is written in ReadWrite.
    ReadOnly,
}

impl Config {
    /// The configuration of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Default, Self::NoGraphql, Self::ReadOnly].into_iter().find(|config| config.name() == name)
    }

    /// As reports and expectations name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::NoGraphql => "no-graphql",
            Self::ReadOnly => "read-only",
        }
    }
}
