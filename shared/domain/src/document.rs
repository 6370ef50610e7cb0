//! How every JSON document of ours is written and read.
//!
//! A document says what it is and in which version: `"schema": "lifeboat/pointer/1.0"`. Unknown fields are ignored, so
//! a newer minor version can add some; an unknown major version, another kind, or anything that does not parse is
//! refused, because deciding on half-understood state is how data is lost (DESIGN §1.9).

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A kind of document with its version.
pub trait Document: Serialize + DeserializeOwned {
    /// The kind's name in the `schema` field.
    const KIND: &'static str;
    /// The version that this build writes; a reader refuses a higher one.
    const MAJOR: u32 = 1;
    /// Rises when a field is added; readers of the same major ignore it.
    const MINOR: u32 = 0;
}

/// Why bytes are not the document they should be. Nothing that depends on the document may go on.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, or a field is missing or of another type.
    #[error(
        "{key} does not parse as a {kind} document; look at the object and its older versions, do not overwrite it"
    )]
    Malformed {
        /// Where the bytes came from.
        key: String,
        /// What it should have been.
        kind: &'static str,
        /// What the parser says; names the field.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, but another kind or a version from the future.
    #[error("{key} has schema {found:?}, this build reads lifeboat/{kind}/{major}.x; use a build that knows it")]
    UnknownSchema {
        /// Where the bytes came from.
        key: String,
        /// What its schema field says.
        found: String,
        /// What it should have been.
        kind: &'static str,
        /// The newest major version that this build reads.
        major: u32,
    },
}

/// The document as bytes: JSON with sorted keys, indented for people, with a final line feed. The same value always
/// gives the same bytes.
///
/// # Panics
/// If `T` does not serialise to a JSON object, which is a mistake in `T`.
pub fn encode<T: Document>(document: &T) -> Vec<u8> {
    let mut value = serde_json::to_value(document).expect("documents of ours have string keys and finite numbers");
    let map = value.as_object_mut().expect("documents of ours are JSON objects");
    map.insert("schema".to_owned(), Value::String(format!("lifeboat/{}/{}.{}", T::KIND, T::MAJOR, T::MINOR)));
    let mut bytes = serde_json::to_vec_pretty(&value).expect("a JSON value always serialises");
    bytes.push(b'\n');
    bytes
}

/// Reads a document found at `key`, refusing what is not understood in full.
pub fn decode<T: Document>(key: &str, bytes: &[u8]) -> Result<T, DocumentError> {
    let malformed = |source| DocumentError::Malformed { key: key.to_owned(), kind: T::KIND, source };
    let value: Value = serde_json::from_slice(bytes).map_err(malformed)?;
    let found = value.get("schema").and_then(Value::as_str).unwrap_or("none").to_owned();
    let major = found
        .strip_prefix("lifeboat/")
        .and_then(|rest| rest.strip_prefix(T::KIND))
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|version| version.split_once('.'))
        .and_then(|(major, _)| major.parse::<u32>().ok());
    if major.is_none_or(|m| m == 0 || m > T::MAJOR) {
        return Err(DocumentError::UnknownSchema { key: key.to_owned(), found, kind: T::KIND, major: T::MAJOR });
    }
    serde_json::from_value(value).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }
    impl Document for Note {
        const KIND: &'static str = "note";
    }

    #[test]
    fn a_document_reads_back_as_it_was_written_and_ignores_what_a_newer_minor_adds() {
        let note = Note { text: "x".into() };
        assert_eq!(decode::<Note>("k", &encode(&note)).unwrap(), note);
        let newer = br#"{"schema":"lifeboat/note/1.9","text":"x","more":1}"#;
        assert_eq!(decode::<Note>("k", newer).unwrap(), note);
    }

    #[test]
    fn unknown_majors_other_kinds_and_broken_json_are_refused_by_name() {
        for (bytes, says) in [
            (&br#"{"schema":"lifeboat/note/2.0","text":"x"}"#[..], "lifeboat/note/2.0"),
            (br#"{"schema":"lifeboat/pointer/1.0","text":"x"}"#, "lifeboat/pointer/1.0"),
            (br#"{"text":"x"}"#, "none"),
            (br#"{"schema":"lifeboat/note/0.1","text":"x"}"#, "lifeboat/note/0.1"),
            (br#"{"schema":"lifeboat/note/1.0"}"#, "k does not parse"),
            (b"{\"schema\":", "k does not parse"),
            (b"", "k does not parse"),
        ] {
            let error = decode::<Note>("k", bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
