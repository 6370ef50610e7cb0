//! Cross-references: properties whose type is a class, and whose values are beacons of objects that exist.
//!
//! Texts and refusals are those of a real 1.38.11.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::db::Db;
use crate::errors::Refusal;
use crate::objects::{Object, ObjectId};

const SCHEME: &str = "weaviate://localhost/";

/// The classes that a property refers to; none when it is of a primitive type.
pub(crate) fn targets(property: &Value) -> Vec<&str> {
    let types = property["dataType"].as_array().into_iter().flatten().filter_map(Value::as_str);
    types.filter(|name| name.starts_with(|first: char| first.is_ascii_uppercase())).collect()
}

/// Refuses a definition that refers to a class which is neither there nor itself.
pub(crate) fn check_definition(definition: &Value, known: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    for property in definition["properties"].as_array().into_iter().flatten() {
        if targets(property).iter().any(|name| definition["class"] != *name && !known(name)) {
            return Err(Refusal::unprocessable("bad request: reference property to nonexistent class"));
        }
    }
    Ok(())
}

/// The reference properties of a definition with the classes that they refer to.
fn of(definition: &Value) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let properties = definition["properties"].as_array().into_iter().flatten();
    properties.filter_map(|property| {
        let targets = targets(property);
        (!targets.is_empty()).then(|| (property["name"].as_str().unwrap_or_default(), targets))
    })
}

/// Checks what was sent for reference properties and keeps the beacon alone of each, with the class where only one is
/// possible.
pub(crate) fn complete(db: &Db, definition: &Value, properties: &mut Map<String, Value>) -> Result<(), Refusal> {
    for (name, targets) in of(definition) {
        let Some(sent) = properties.get_mut(name).filter(|sent| !sent.is_null()) else { continue };
        let Some(list) = sent.as_array_mut() else {
            let shown = sent.as_str().map_or_else(|| go(sent), str::to_owned);
            return Err(Refusal::unprocessable(format!("reference property is not a slice {shown}")));
        };
        for entry in list {
            let Some(text) = entry["beacon"].as_str() else {
                return Err(Refusal::unprocessable("beacon property is not a string: <nil>"));
            };
            let (class, id) = parse(text)?;
            let class = class.or_else(|| if let [only] = targets.as_slice() { Some((*only).to_owned()) } else { None });
            if !exists(db, class.as_deref(), id) {
                let at = format!("{}:{name}", definition["class"].as_str().unwrap_or_default());
                return Err(Refusal::unprocessable(format!("invalid cref: 'cref' {at}: no object with id {id} found")));
            }
            *entry = json!({"beacon": beacon(class.as_deref(), id)});
        }
    }
    Ok(())
}

/// The class, where it is said, and the id of a beacon.
pub(crate) fn parse(text: &str) -> Result<(Option<String>, ObjectId), Refusal> {
    let bad = |what: String| Refusal::unprocessable(format!("invalid cref URI: {what}"));
    let path = text.strip_prefix(SCHEME).unwrap_or(text);
    match path.split('/').collect::<Vec<_>>().as_slice() {
        [id] => match id.parse() {
            Ok(id) => Ok((None, id)),
            Err(()) => Err(bad(format!("path must be of format '<class>/<uuid>', but got '{path}'"))),
        },
        [class, id] => match id.parse() {
            Ok(parsed) => Ok((Some((*class).to_owned()), parsed)),
            Err(()) => Err(bad(format!("2nd path segment must be uuid, but got '{id}'"))),
        },
        _ => Err(bad(format!("path must be of format '<class>/<uuid>', but got '{path}'"))),
    }
}

/// A beacon as it is kept.
pub(crate) fn beacon(class: Option<&str>, id: ObjectId) -> String {
    match class {
        Some(class) => format!("{SCHEME}{class}/{id}"),
        None => format!("{SCHEME}{id}"),
    }
}

/// Whether an object is there: in this class, or in any when none is named.
pub(crate) fn exists(db: &Db, class: Option<&str>, id: ObjectId) -> bool {
    let classes = match class {
        Some(name) => db.class(name).into_iter().collect(),
        None => db.classes(),
    };
    classes.iter().any(|class| {
        let slots = class.slots();
        slots.values().filter_map(|slot| slot.loaded()).any(|shard| shard.objects().contains_key(&id))
    })
}

/// The object as reads show it: with a link beside each beacon, which is not stored.
pub(crate) fn linked(definition: &Value, object: Arc<Object>) -> Arc<Object> {
    let names: Vec<&str> =
        of(definition).map(|(name, _)| name).filter(|n| object.properties.contains_key(*n)).collect();
    if names.is_empty() {
        return object;
    }
    let mut shown = Object::clone(&object);
    for name in names {
        for entry in shown.properties.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten() {
            let path = entry["beacon"].as_str().and_then(|text| text.strip_prefix(SCHEME)).map(str::to_owned);
            if let Some(path) = path {
                entry["href"] = json!(format!("/v1/objects/{path}"));
            }
        }
    }
    Arc::new(shown)
}

/// A refusal as a batch says it, which has no words in front of what is wrong with a reference.
pub(crate) fn in_batch(message: &str) -> &str {
    let words = ["invalid cref", "reference property", "beacon property"];
    let bare = message.strip_prefix("invalid object: ").filter(|bare| words.iter().any(|w| bare.starts_with(w)));
    bare.unwrap_or(message)
}

/// A JSON object as Go prints a map.
fn go(value: &Value) -> String {
    match value.as_object() {
        Some(map) => {
            let fields: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{k}:{}", v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
        None => value.to_string(),
    }
}
