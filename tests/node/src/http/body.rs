//! Reading bodies and query strings with the framework's own refusals.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use serde::de::DeserializeOwned;

use crate::errors::Refusal;

/// Parses a JSON body: 415 for another content type, 602 for none at all, 400 for anything malformed.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Refusal> {
    if let Some(kind) = headers.get("content-type").and_then(|value| value.to_str().ok()) {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind != "application/json" && kind != "application/yaml" {
            return Err(Refusal::framework(
                415,
                format!("unsupported media type {kind:?}, only [application/json application/yaml] are allowed"),
            ));
        }
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Refusal::framework(602, "body in body is required"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let reason = if error.is_eof() { "unexpected EOF".to_owned() } else { error.to_string() };
        Refusal::framework(400, format!("parsing body body from \"\" failed, because {reason}"))
    })
}

/// The query string, percent-decoded. Later values win.
pub(crate) fn query(uri: &Uri) -> BTreeMap<String, String> {
    uri.query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .flatten();
        match (bytes[at], hex) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', None) => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_strings_are_decoded() {
        let parsed = query(&"/v1/objects?class=A%20b&tenant=a+b&flag".parse().unwrap());
        assert_eq!(parsed["class"], "A b");
        assert_eq!(parsed["tenant"], "a b");
        assert_eq!(parsed["flag"], "");
    }
}
