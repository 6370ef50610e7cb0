//! An object: its id, properties and vectors; its JSON over REST and its binary record on disk (vectors as little-endian f32).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A UUID; orders as its text does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectId(pub(crate) [u8; 16]);

impl ObjectId {
    /// A fresh version 4 id.
    pub(crate) fn random() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let mut hash = Sha256::new();
        hash.update(crate::times::now().as_nanosecond().to_le_bytes());
        hash.update(std::process::id().to_le_bytes());
        hash.update(COUNTER.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }
}

impl FromStr for ObjectId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let hex: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        if hex.len() != 32 || (text.len() != 36 && text.len() != 32) {
            return Err(());
        }
        let mut bytes = [0; 16];
        for (at, pair) in hex.chunks_exact(2).enumerate() {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
            bytes[at] = digit(pair[0]).ok_or(())? << 4 | digit(pair[1]).ok_or(())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A stored object. The unnamed vector has the empty name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    pub(crate) id: ObjectId,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) properties: Map<String, Value>,
    pub(crate) vectors: BTreeMap<String, Vec<f32>>,
}

/// An object as a client sends it.
#[derive(Debug, Deserialize)]
pub(crate) struct Incoming {
    #[serde(default)]
    pub(crate) class: String,
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) properties: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) vector: Option<Vec<f32>>,
    #[serde(default)]
    pub(crate) vectors: Option<BTreeMap<String, Vec<f32>>>,
    #[serde(default)]
    pub(crate) tenant: Option<String>,
}

/// An object as a client sees it.
#[derive(Debug, Serialize)]
pub(crate) struct View<'a> {
    class: &'a str,
    #[serde(rename = "creationTimeUnix")]
    created_ms: i64,
    id: String,
    #[serde(rename = "lastUpdateTimeUnix")]
    updated_ms: i64,
    properties: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<&'a [f32]>,
    #[serde(rename = "vectorWeights")]
    vector_weights: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vectors: Option<BTreeMap<&'a str, &'a [f32]>>,
}

/// A 32-bit float as JSON in its shortest form, as the server prints it.
pub(crate) fn short(value: f32) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or(Value::Null)
}

impl Object {
    /// What a client sees; vectors only when asked for.
    pub(crate) fn view<'a>(&'a self, class: &'a str, tenant: Option<&'a str>, with_vectors: bool) -> View<'a> {
        let named: BTreeMap<&str, &[f32]> = self
            .vectors
            .iter()
            .filter(|(name, _)| with_vectors && !name.is_empty())
            .map(|(name, vector)| (name.as_str(), vector.as_slice()))
            .collect();
        View {
            class,
            created_ms: self.created_ms,
            id: self.id.to_string(),
            updated_ms: self.updated_ms,
            properties: &self.properties,
            tenant,
            vector: self.vectors.get("").filter(|_| with_vectors).map(Vec::as_slice),
            vector_weights: None,
            vectors: (!named.is_empty()).then_some(named),
        }
    }
}

/// One entry of a segment file.
#[derive(Debug)]
pub(crate) enum Record {
    Put(Object),
    Delete(ObjectId),
}

/// Appends the record `[length u32][kind u8][id]…` of a stored object.
pub(crate) fn encode_put(object: &Object, to: &mut Vec<u8>) {
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    to.push(1);
    to.extend_from_slice(&object.id.0);
    to.extend_from_slice(&object.created_ms.to_le_bytes());
    to.extend_from_slice(&object.updated_ms.to_le_bytes());
    let json = serde_json::to_vec(&object.properties).unwrap_or_default();
    put_len(json.len(), to);
    to.extend_from_slice(&json);
    put_len(object.vectors.len(), to);
    for (name, vector) in &object.vectors {
        put_len(name.len(), to);
        to.extend_from_slice(name.as_bytes());
        put_len(vector.len(), to);
        for value in vector {
            to.extend_from_slice(&value.to_le_bytes());
        }
    }
    close(start, to);
}

/// Appends the record of a deletion.
pub(crate) fn encode_delete(id: ObjectId, to: &mut Vec<u8>) {
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    to.push(2);
    to.extend_from_slice(&id.0);
    close(start, to);
}

fn put_len(length: usize, to: &mut Vec<u8>) {
    to.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn close(start: usize, to: &mut [u8]) {
    let length = u32::try_from(to.len() - start - 4).unwrap_or(u32::MAX);
    to[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Reads one record; `None` at the end or at a torn tail, `Err` at nonsense.
pub(crate) fn decode(from: &mut &[u8]) -> Result<Option<Record>, String> {
    if from.len() < 4 {
        return Ok(None);
    }
    let mut rest = *from;
    let length = take_len(&mut rest)?;
    if rest.len() < length {
        return Ok(None);
    }
    let (mut body, rest) = rest.split_at(length);
    *from = rest;
    let kind = take(&mut body, 1)?[0];
    let mut id = [0; 16];
    id.copy_from_slice(take(&mut body, 16)?);
    let id = ObjectId(id);
    match kind {
        2 => Ok(Some(Record::Delete(id))),
        1 => {
            let created_ms = take_i64(&mut body)?;
            let updated_ms = take_i64(&mut body)?;
            let json_length = take_len(&mut body)?;
            // Damage is not noticed, as in the real server: what does not parse is simply gone.
            let properties = serde_json::from_slice(take(&mut body, json_length)?).unwrap_or_default();
            let mut vectors = BTreeMap::new();
            for _ in 0..take_len(&mut body)? {
                let name_length = take_len(&mut body)?;
                let name = String::from_utf8(take(&mut body, name_length)?.to_vec()).map_err(|e| e.to_string())?;
                let dimensions = take_len(&mut body)?;
                let vector = take(&mut body, dimensions.saturating_mul(4))?
                    .chunks_exact(4)
                    .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                    .collect();
                vectors.insert(name, vector);
            }
            Ok(Some(Record::Put(Object { id, created_ms, updated_ms, properties, vectors })))
        }
        other => Err(format!("unknown record kind {other}")),
    }
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    if from.len() < length {
        return Err("segment record is too short".to_owned());
    }
    let (head, tail) = from.split_at(length);
    *from = tail;
    Ok(head)
}

fn take_len(from: &mut &[u8]) -> Result<usize, String> {
    let bytes = take(from, 4)?;
    usize::try_from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).map_err(|e| e.to_string())
}

fn take_i64(from: &mut &[u8]) -> Result<i64, String> {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(take(from, 8)?);
    Ok(i64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_a_torn_one_is_the_end() {
        let object = Object {
            id: ObjectId::random(),
            created_ms: 5,
            updated_ms: -6,
            properties: serde_json::from_str(r#"{"title":"ä","n":1.5}"#).unwrap(),
            vectors: BTreeMap::from([(String::new(), vec![0.1, -2.5]), ("named".to_owned(), vec![])]),
        };
        let mut bytes = Vec::new();
        encode_put(&object, &mut bytes);
        encode_delete(object.id, &mut bytes);
        let mut from = bytes.as_slice();
        assert!(matches!(decode(&mut from), Ok(Some(Record::Put(read))) if read == object));
        assert!(matches!(decode(&mut from), Ok(Some(Record::Delete(id))) if id == object.id));
        assert!(matches!(decode(&mut from), Ok(None)));
        let mut torn = &bytes[..bytes.len() - 30];
        assert!(matches!(decode(&mut torn), Ok(None)));
    }

    #[test]
    fn ids_read_back_as_they_print() {
        let id = ObjectId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("nonsense".parse::<ObjectId>().is_err());
    }
}
