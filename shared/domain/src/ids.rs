//! Identifiers, each parsed once at the edge and valid ever after.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Why a text is not the identifier it should be; names the kind, the text and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not valid: {rule}")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the text; the error names the rule that it breaks.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { kind: $kind, text: text.chars().take(120).collect(), rule: $rule })
                }
            }

            /// The text, exactly as parsed.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

text_id!(
    /// A Weaviate backup id: `^[a-z0-9_-]+$`, at most 200 characters so that every S3 key below it stays under 1,024
    /// bytes (facts: weaviate.md §1.5 and §8.1). Ids are single-use, also those of failed backups.
    BackupId, "backup id", "lower-case letters, digits, '_' and '-', 1 to 200 of them",
    |t| (1..=200).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
);
text_id!(
    /// An EC2 instance id, `i-` and hexadecimal digits (8 or 17 on AWS).
    InstanceId, "instance id", "'i-' and 1 to 32 hexadecimal digits",
    |t| t.strip_prefix("i-").is_some_and(|h| (1..=32).contains(&h.len()) && h.bytes().all(|b| b.is_ascii_hexdigit()))
);
text_id!(
    /// The name of one step of one run, `<run>-<step>-<attempt>`: the host obeys it once, and it is the Run Command
    /// comment by which a command is found again (at most 100 characters: facts aws.md §3.1).
    JobId, "job id", "letters, digits, '-' and '_', 1 to 100 of them",
    |t| (1..=100).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);

impl BackupId {
    /// The id of a backup asked for by the run recorded at `recorded_at` (S3's date of that record), taken from the
    /// node of `generation`, in its `attempt`-th try (from 1): `weaviate_backup_2025-09-24t153000z_g7_1`.
    pub fn mint(recorded_at: Timestamp, generation: Generation, attempt: u32) -> Self {
        Self(format!("weaviate_backup_{}_g{}_{attempt}", recorded_at.strftime("%Y-%m-%dt%H%M%Sz"), generation.0))
    }
}

/// Who owns the data now, counted: it rises by one at every gate, so a late action of an old owner can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation that the next gate opens.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a pointer write; it only rises, by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The sequence of the next pointer write.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_id!(
    /// A SHA-256 in 64 lower-case hexadecimal digits, as `sha256sum` prints it.
    Sha256Digest, "SHA-256 digest", "64 lower-case hexadecimal digits",
    |t| t.len() == 64 && t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

impl Sha256Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// The digest that a finished hasher holds (32 bytes).
    pub fn from_raw(raw: &[u8; 32]) -> Self {
        Self(hex(raw))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

/// The idempotent UUID that a text stands for: the first 16 bytes of its SHA-256, marked as version 8 (RFC 9562).
pub fn uuid_of(text: &str) -> String {
    let mut raw: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    raw[6] = (raw[6] & 0x0f) | 0x80;
    raw[8] = (raw[8] & 0x3f) | 0x80;
    let h = hex(&raw[..16]);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_backup_id_is_one_that_weaviate_accepts() {
        let at: Timestamp = "2025-09-24T15:30:00Z".parse().unwrap();
        let id = BackupId::mint(at, Generation(7), 1);
        assert_eq!(id.as_str(), "weaviate_backup_2025-09-24t153000z_g7_1");
        assert_eq!(BackupId::parse(id.as_str()), Ok(id));
    }

    #[test]
    fn ids_that_weaviate_or_s3_would_refuse_are_refused() {
        for bad in ["", "weaviate_backup_2025-09-24T153000Z", "a/b", "a b", "ä", &"x".repeat(201)] {
            assert!(BackupId::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "i-", "i-xyz", "0123"] {
            assert!(InstanceId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Sha256Digest::parse(&"A".repeat(64)).is_err());
    }

    #[test]
    fn an_id_in_json_goes_through_the_same_parser() {
        let error = serde_json::from_str::<BackupId>("\"Not-Lower\"").unwrap_err().to_string();
        assert!(error.contains("backup id \"Not-Lower\" is not valid"), "{error}");
    }

    #[test]
    fn the_digest_of_nothing_is_what_sha256sum_says() {
        assert_eq!(Sha256Digest::of(b"").as_str(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
