//! Bodies of create and restore: what is accepted, and which classes they choose.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::chunks::Codec;
use crate::errors::Refusal;
use crate::store::Place;

/// Body of `POST /v1/backups/{backend}`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct CreateRequest {
    #[serde(default)]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) include: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) exclude: Option<Vec<String>>,
    #[serde(default, rename = "includeUsers")]
    pub(crate) include_users: Option<Vec<String>>,
    #[serde(default, rename = "includeRoles")]
    pub(crate) include_roles: Option<Vec<String>>,
    #[serde(default, rename = "incremental_base_backup_id")]
    pub(crate) base: Option<String>,
    #[serde(default)]
    pub(crate) config: Option<ConfigBody>,
}

/// Body of `POST /v1/backups/{backend}/{id}/restore`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RestoreRequest {
    #[serde(default)]
    pub(crate) include: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) exclude: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) node_mapping: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "overwriteAlias")]
    pub(crate) overwrite_alias: bool,
    #[serde(default)]
    pub(crate) config: Option<ConfigBody>,
}

/// `config` of either body.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ConfigBody {
    #[serde(default, rename = "CPUPercentage")]
    pub(crate) cpu: i64,
    #[serde(default, rename = "CompressionLevel")]
    pub(crate) level: String,
    #[serde(default, rename = "Bucket")]
    pub(crate) bucket: String,
    #[serde(default, rename = "Path")]
    pub(crate) path: String,
    #[serde(default, rename = "rolesOptions")]
    pub(crate) roles: Option<String>,
    #[serde(default, rename = "usersOptions")]
    pub(crate) users: Option<String>,
}

const LEVELS: [&str; 7] = [
    "DefaultCompression",
    "BestSpeed",
    "BestCompression",
    "ZstdDefaultCompression",
    "ZstdBestSpeed",
    "ZstdBestCompression",
    "NoCompression",
];

impl ConfigBody {
    /// The checks that the real server's framework makes before any handler runs.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.cpu > 80 {
            return Err(Refusal::framework(608, "config.CPUPercentage in body should be less than or equal to 80"));
        }
        if self.cpu < 0 {
            return Err(Refusal::framework(609, "config.CPUPercentage in body should be greater than or equal to 1"));
        }
        if !self.level.is_empty() && !LEVELS.contains(&self.level.as_str()) {
            return Err(Refusal::framework(
                606,
                format!("config.CompressionLevel in body should be one of [{}]", LEVELS.join(" ")),
            ));
        }
        for (name, option) in [("rolesOptions", &self.roles), ("usersOptions", &self.users)] {
            if option.as_deref().is_some_and(|option| option != "noRestore" && option != "all") {
                return Err(Refusal::framework(606, format!("config.{name} in body should be one of [noRestore all]")));
            }
        }
        Ok(())
    }

    /// Overriding bucket and path.
    pub(crate) fn place(&self) -> Place {
        Place { bucket: self.bucket.clone(), path: self.path.clone() }
    }

    /// The codec; zstd is refused, for the double has none.
    pub(crate) fn codec(&self) -> Result<Codec, Refusal> {
        match self.level.as_str() {
            "" | "DefaultCompression" => Ok(Codec::Gzip(6)),
            "BestSpeed" => Ok(Codec::Gzip(1)),
            "BestCompression" => Ok(Codec::Gzip(9)),
            "NoCompression" => Ok(Codec::Plain),
            other => Err(Refusal::internal(format!("{other} is not played by this double"))),
        }
    }

    /// Shards that are worked on at once: a share of the processors, at least one.
    pub(crate) fn workers(&self) -> usize {
        let percent = if self.cpu == 0 { 50 } else { usize::try_from(self.cpu).unwrap_or(50) };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (processors * percent / 100).max(1)
    }
}

/// The checks on `include` and `exclude` that create and restore share.
pub(crate) fn check_lists(include: &[String], exclude: &[String]) -> Result<(), Refusal> {
    if !include.is_empty() && !exclude.is_empty() {
        return Err(Refusal::unprocessable("malformed request: 'include' and 'exclude' cannot both contain values"));
    }
    let mut seen = Vec::new();
    for class in include {
        if seen.contains(&class) {
            return Err(Refusal::unprocessable(format!("class list 'include' contains duplicate: {class}")));
        }
        seen.push(class);
    }
    Ok(())
}

/// Expands `*` and `?`. A pattern that matches nothing vanishes, and an empty list means everything, as in the real server.
pub(crate) fn expand(patterns: &[String], candidates: &[String], wildcards: bool) -> Vec<String> {
    let mut chosen: Vec<String> = Vec::new();
    for pattern in patterns {
        if wildcards && pattern.contains(['*', '?']) {
            for candidate in candidates {
                if matches(pattern.as_bytes(), candidate.as_bytes()) && !chosen.contains(candidate) {
                    chosen.push(candidate.clone());
                }
            }
        } else if !chosen.contains(pattern) {
            chosen.push(pattern.clone());
        }
    }
    chosen
}

/// Whether `text` matches a pattern of `*` (any run) and `?` (any one byte).
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => matches(&pattern[1..], text) || (!text.is_empty() && matches(pattern, &text[1..])),
        (Some(b'?'), Some(_)) => matches(&pattern[1..], &text[1..]),
        (Some(a), Some(b)) if a == b => matches(&pattern[1..], &text[1..]),
        _ => false,
    }
}

/// Whether the server accepts this as a backup id.
pub(crate) fn is_valid_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// The refusal of an id with other characters.
pub(crate) fn check_id(id: &str) -> Result<(), Refusal> {
    if is_valid_id(id) {
        return Ok(());
    }
    Err(Refusal::unprocessable(format!("invalid backup id: '{id}' allowed characters are lowercase, 0-9, _, -")))
}

/// A list as Go prints it: `[a b]`.
pub(crate) fn go_list(items: &[String]) -> String {
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_that_matches_nothing_leaves_an_empty_list() {
        let classes = ["Article".to_owned(), "Author".to_owned()];
        let expand_one = |pattern: &str| expand(&[pattern.to_owned()], &classes, true);
        assert_eq!(expand_one("A*"), classes);
        assert_eq!(expand_one("Auth?r"), ["Author"]);
        assert!(expand_one("Nope*").is_empty());
        assert_eq!(expand_one("Nope"), ["Nope"]);
    }

    #[test]
    fn ids_are_lower_case() {
        assert!(is_valid_id("weaviate_backup_2025-09-24t153000z_g7_1"));
        assert!(!is_valid_id("weaviate_backup_2025-09-24T153000Z"));
        assert!(!is_valid_id(""));
    }
}
