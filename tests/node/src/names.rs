//! Which names and which vectors a class may have (a real 1.38.11, its texts).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::errors::Refusal;

fn is_graphql_name(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Refuses a property's name that the server refuses.
pub(crate) fn property(name: &str) -> Result<(), Refusal> {
    if !is_graphql_name(name, 231) {
        return Err(Refusal::unprocessable(format!(
            "'{name}' is not a valid property name. Property names in Weaviate are restricted to valid GraphQL names, \
             which must be “/[_A-Za-z][_0-9A-Za-z]{{0,230}}/”"
        )));
    }
    if matches!(name, "id" | "_id" | "_additional") {
        return Err(Refusal::unprocessable(format!("'{name}' is a reserved property name")));
    }
    Ok(())
}

/// Refuses a tenant's name that the server refuses: 1 to 64 letters, digits, hyphens and underscores.
pub(crate) fn tenant(at: usize, name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(Refusal::unprocessable(format!("tenant name at index {at}: empty tenant name")));
    }
    let fits = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if fits {
        return Ok(());
    }
    Err(Refusal::unprocessable(format!(
        "tenant name at index {at}:  '{name}' is not a valid tenant name. should only contain alphanumeric characters \
         (a-z, A-Z, 0-9), underscore (_), and hyphen (-), with a length between 1 and 64 characters"
    )))
}

/// Refuses a class whose properties' or vectors' names, or whose vector indexes, the server refuses.
pub(crate) fn class(class: &Map<String, Value>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for name in class["properties"].as_array().into_iter().flatten().filter_map(|p| p["name"].as_str()) {
        property(name)?;
        if !seen.insert(name.to_lowercase()) {
            return Err(conflict(class["class"].as_str().unwrap_or_default(), &name.to_lowercase()));
        }
    }
    let named = class.get("vectorConfig").and_then(Value::as_object);
    for name in named.into_iter().flatten().map(|(name, _)| name) {
        if !is_graphql_name(name, 230) {
            return Err(Refusal::unprocessable(format!(
                "class.VectorConfig target vector name \"{name}\" is not valid, in Weaviate target vector names are \
                 restricted to valid GraphQL names, which must be “/[_A-Za-z][_0-9A-Za-z]{{0,229}}/”."
            )));
        }
    }
    let own =
        ["vectorIndexType", "vectorIndexConfig"].iter().any(|field| class.get(*field).is_some_and(|v| !v.is_null()));
    if named.is_some_and(|named| !named.is_empty()) && own {
        return Err(Refusal::unprocessable(
            "creating a class with both a class level vector index and named vectors is forbidden",
        ));
    }
    if indexes(class).any(|config| quantizers(config) > 1) {
        return Err(Refusal::unprocessable(
            "class.VectorIndexConfig can not parse: parse vector index config: invalid hnsw config: more than a single \
             compression methods enabled",
        ));
    }
    Ok(())
}

/// The refusal of a property that is there already.
pub(crate) fn conflict(class: &str, name: &str) -> Refusal {
    Refusal::unprocessable(format!(
        "class \"{class}\": conflict for property \"{name}\": already in use or provided multiple times"
    ))
}

fn indexes(class: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let named = class.get("vectorConfig").and_then(Value::as_object).into_iter().flatten();
    class.get("vectorIndexConfig").into_iter().chain(named.map(|(_, config)| &config["vectorIndexConfig"]))
}

fn quantizers(config: &Value) -> usize {
    ["pq", "bq", "sq", "rq"].iter().filter(|kind| config[*kind]["enabled"] == Value::Bool(true)).count()
}

/// Whether any vector index of the class is compressed, as `/v1/nodes` says of each of its shards. The double keeps the
/// vectors as they came and searches those: it compresses nothing.
pub(crate) fn is_compressed(definition: &Value) -> bool {
    definition.as_object().is_some_and(|class| indexes(class).any(|config| quantizers(config) > 0))
}

/// The vectors of an object under the names that the class gives them: one without a name goes to the only named one.
pub(crate) fn vectors(
    definition: &Value,
    unnamed: Option<Vec<f32>>,
    named: Option<BTreeMap<String, Vec<f32>>>,
) -> Result<BTreeMap<String, Vec<f32>>, Refusal> {
    let class = definition["class"].as_str().unwrap_or_default();
    let known = definition["vectorConfig"].as_object().filter(|known| !known.is_empty());
    let mut vectors = named.unwrap_or_default();
    if let Some(name) = vectors.keys().find(|name| known.is_none_or(|known| !known.contains_key(*name))) {
        return Err(Refusal::unprocessable(format!(
            "collection {class} does not have configuration for vector {name}"
        )));
    }
    if let Some(vector) = unnamed.filter(|vector| !vector.is_empty()) {
        let name = match known.map(|known| known.keys().collect::<Vec<_>>()).as_deref() {
            None => String::new(),
            Some([only]) => (*only).clone(),
            Some(_) => {
                return Err(Refusal::unprocessable(format!(
                    "collection {class} configuration does not have single vector index"
                )));
            }
        };
        vectors.insert(name, vector);
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_allowed_character_is_allowed_and_nothing_else() {
        assert!(property("_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").is_ok());
        assert!(["a-b", "1a", "", "ä", "id", "_id"].iter().all(|name| property(name).is_err()));
        assert!(tenant(0, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_").is_ok());
        assert!(["", "a.b", "ä", &"a".repeat(65)].iter().all(|name| tenant(0, name).is_err()));
    }

    #[test]
    fn a_vector_goes_where_the_class_has_one() {
        let one = json!({"class": "C", "vectorConfig": {"only": {}}});
        let two = json!({"class": "C", "vectorConfig": {"a": {}, "b": {}}});
        assert_eq!(vectors(&json!({}), Some(vec![1.0]), None).unwrap().keys().collect::<Vec<_>>(), [""]);
        assert_eq!(vectors(&one, Some(vec![1.0]), None).unwrap().keys().collect::<Vec<_>>(), ["only"]);
        assert!(vectors(&two, Some(vec![1.0]), None).unwrap_err().message().contains("does not have single vector"));
        let named = || Some(BTreeMap::from([("a".to_owned(), vec![1.0])]));
        assert!(vectors(&two, None, named()).is_ok());
        assert!(vectors(&one, None, named()).unwrap_err().message().contains("for vector a"));
    }
}
