//! Class definitions: what a client may send, the defaults that the server adds, and the sharding state.

use serde_json::{Map, Value, json};

use crate::errors::Refusal;
use crate::objects::ObjectId;

/// Capitalises a class name as the server does.
pub(crate) fn class_name(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Checks a class and fills in the server's defaults.
pub(crate) fn complete(mut class: Value) -> Result<Value, Refusal> {
    let Some(map) = class.as_object_mut() else {
        return Err(Refusal::framework(
            400,
            "parsing body body from \"\" failed, because json: cannot unmarshal into Go value of type models.Class",
        ));
    };
    let name = class_name(map.get("class").and_then(Value::as_str).unwrap_or_default());
    let valid = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= 255;
    if !valid {
        return Err(Refusal::unprocessable(format!("'{name}' is not a valid class name")));
    }
    map.insert("class".to_owned(), json!(name));
    let properties = map.entry("properties").or_insert_with(|| json!([]));
    if properties.is_null() {
        *properties = json!([]);
    }
    crate::names::class(map)?;
    let properties = &mut map["properties"];
    for property in properties.as_array_mut().into_iter().flatten() {
        complete_property(property)?;
    }
    fill(
        map,
        "invertedIndexConfig",
        &json!({
            "bm25": {"b": 0.75, "k1": 1.2}, "cleanupIntervalSeconds": 60,
            "stopwords": {"additions": null, "preset": "en", "removals": null}, "usingBlockMaxWAND": true
        }),
    );
    fill(
        map,
        "multiTenancyConfig",
        &json!({
            "autoTenantActivation": false, "autoTenantCreation": false, "enabled": false
        }),
    );
    fill(
        map,
        "replicationConfig",
        &json!({
            "asyncEnabled": false, "deletionStrategy": "TimeBasedResolution", "factor": 1
        }),
    );
    let partitioned = map["multiTenancyConfig"]["enabled"] == json!(true);
    if !partitioned {
        fill(
            map,
            "shardingConfig",
            &json!({
                "actualCount": 1, "actualVirtualCount": 128, "desiredCount": 1, "desiredVirtualCount": 128,
                "function": "murmur3", "key": "_id", "strategy": "hash", "virtualPerPhysical": 128
            }),
        );
        let desired = map["shardingConfig"]["desiredCount"].as_u64().unwrap_or(1).max(1);
        map["shardingConfig"]["actualCount"] = json!(desired);
    } else {
        let none = json!({
            "actualCount": 0, "actualVirtualCount": 0, "desiredCount": 0, "desiredVirtualCount": 0,
            "function": "", "key": "", "strategy": "", "virtualPerPhysical": 0
        });
        map.insert("shardingConfig".to_owned(), none);
    }
    let index = json!({
        "bq": {"enabled": false}, "cleanupIntervalSeconds": 300, "distance": "cosine",
        "dynamicEfFactor": 8, "dynamicEfMax": 500, "dynamicEfMin": 100, "ef": -1, "efConstruction": 128,
        "filterStrategy": "acorn", "flatSearchCutoff": 40000, "maxConnections": 32, "skip": false,
        "vectorCacheMaxObjects": 1_000_000_000_000_u64
    });
    match map.get_mut("vectorConfig").and_then(Value::as_object_mut) {
        Some(named) => {
            for config in named.values_mut().filter_map(Value::as_object_mut) {
                config.entry("vectorIndexType").or_insert_with(|| json!("hnsw"));
                config.entry("vectorizer").or_insert_with(|| json!({"none": {}}));
                fill(config, "vectorIndexConfig", &index);
            }
        }
        None => {
            map.entry("vectorIndexType").or_insert_with(|| json!("hnsw"));
            fill(map, "vectorIndexConfig", &index);
            let vectorizer = map.entry("vectorizer").or_insert_with(|| json!("none"));
            if *vectorizer != json!("none") && *vectorizer != json!("") {
                let asked = vectorizer.as_str().unwrap_or_default().to_owned();
                return Err(Refusal::unprocessable(format!("vectorizer: no module with name \"{asked}\" present")));
            }
        }
    }
    Ok(class)
}

/// Refuses properties whose values are not of their type; types other than text, int, number and boolean are not looked at.
pub(crate) fn fits(definition: &Value, properties: &Map<String, Value>) -> Result<(), Refusal> {
    let class = definition["class"].as_str().unwrap_or_default();
    for property in definition["properties"].as_array().into_iter().flatten() {
        let name = property["name"].as_str().unwrap_or_default();
        let Some(value) = properties.get(name).filter(|value| !value.is_null()) else { continue };
        let (fits, kind, wanted) = match property["dataType"][0].as_str().unwrap_or_default() {
            "text" => (value.is_string(), "text", "a string"),
            "int" => (value.as_f64().is_some_and(|n| n.fract() == 0.0), "integer", "an integer"),
            "number" => (value.is_number(), "number", "a float"),
            "boolean" => (value.is_boolean(), "boolean", "a bool"),
            _ => continue,
        };
        if !fits {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Err(Refusal::unprocessable(format!(
                "invalid {kind} property '{name}' on class '{class}': requires {wanted}, the given value is '{shown}'"
            )));
        }
    }
    Ok(())
}

fn complete_property(property: &mut Value) -> Result<(), Refusal> {
    let Some(map) = property.as_object_mut() else {
        return Err(Refusal::unprocessable("property must be an object"));
    };
    let data_type = match map.get("dataType") {
        Some(Value::Array(types)) => types.first().and_then(Value::as_str).unwrap_or_default().to_owned(),
        Some(Value::String(one)) => one.clone(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => String::new(),
    };
    if data_type.is_empty() {
        let name = map.get("name").and_then(Value::as_str).unwrap_or_default();
        return Err(Refusal::unprocessable(format!(
            "property '{name}': invalid dataType: dataType cannot be an empty string"
        )));
    }
    let text = matches!(data_type.as_str(), "text" | "text[]");
    // A reference may be to one of several classes; everything else is of one type.
    if data_type.starts_with(|first: char| !first.is_ascii_uppercase()) {
        map.insert("dataType".to_owned(), json!([data_type]));
    }
    map.entry("indexFilterable").or_insert(json!(true));
    map.entry("indexRangeFilters").or_insert(json!(false));
    map.entry("indexSearchable").or_insert(json!(text));
    if text {
        map.entry("tokenization").or_insert(json!("word"));
    }
    Ok(())
}

/// Adds what is missing from `defaults`, one level deep and below.
fn fill(map: &mut Map<String, Value>, name: &str, defaults: &Value) {
    let entry = map.entry(name).or_insert_with(|| json!({}));
    if entry.is_null() {
        *entry = json!({});
    }
    merge(entry, defaults);
}

fn merge(into: &mut Value, defaults: &Value) {
    if let (Some(into), Some(defaults)) = (into.as_object_mut(), defaults.as_object()) {
        for (name, default) in defaults {
            match into.get_mut(name) {
                None => {
                    into.insert(name.clone(), default.clone());
                }
                Some(present) => merge(present, default),
            }
        }
    }
}

/// A property as auto schema would infer it from a value.
pub(crate) fn infer(name: &str, value: &Value) -> Value {
    let kind = |value: &Value| match value {
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => "date",
        Value::String(text) if text.len() == 36 && text.parse::<ObjectId>().is_ok() => "uuid",
        Value::Object(_) => "object",
        Value::Null | Value::String(_) | Value::Array(_) => "text",
    };
    let data_type = match value.as_array() {
        Some(items) => format!("{}[]", items.first().map_or("text", kind)),
        None => kind(value).to_owned(),
    };
    json!({"name": name, "dataType": [data_type], "description": "This property was generated by Weaviate's auto-schema feature"})
}

/// A fresh sharding state, in the shape of the real server's.
pub(crate) fn sharding_state(class: &Value, node: &str) -> Value {
    let name = class["class"].as_str().unwrap_or_default();
    let partitioned = class["multiTenancyConfig"]["enabled"] == json!(true);
    let mut physical = Map::new();
    let mut virtuals = Vec::new();
    let count = if partitioned { 0 } else { class["shardingConfig"]["desiredCount"].as_u64().unwrap_or(1).max(1) };
    for shard in (0..count).map(|_| shard_name()) {
        let mut entry = physical_shard(&shard, node, None);
        let own: Vec<Value> = (0..VIRTUALS / count).map(|_| json!(shard_name())).collect();
        for name in &own {
            let upper = (virtuals.len() as u64 + 1) * (u64::MAX / VIRTUALS);
            virtuals.push(json!({"name": name, "upper": upper, "ownsPercentage": SHARE, "assignedToPhysical": shard}));
        }
        entry["ownsVirtual"] = Value::Array(own);
        physical.insert(shard, entry);
    }
    json!({
        "indexID": name,
        "config": class["shardingConfig"],
        "physical": physical,
        "virtual": if partitioned { Value::Null } else { Value::Array(virtuals) },
        "partitioningEnabled": partitioned,
        "replicationFactor": 1,
    })
}

/// One entry of `physical`.
pub(crate) fn physical_shard(name: &str, node: &str, status: Option<&str>) -> Value {
    let mut entry = json!({"name": name, "belongsToNodes": [node], "ownsPercentage": 1});
    if let Some(status) = status {
        entry["status"] = json!(status);
    }
    entry
}

/// Virtual shards of a class, as the real server deals them to its shards.
const VIRTUALS: u64 = 128;
/// What one of them owns.
const SHARE: f64 = 1.0 / 128.0;

fn shard_name() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    ObjectId::random().0[..12].iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}
