//! Answers a parsed query from the database, with errors in GraphQL's own shape.

use serde_json::{Map, Value, json};

use super::parser::{Field, parse};
use crate::collection::Collection;
use crate::db::Db;
use crate::knobs::Knobs;
use crate::objects::{ObjectId, short};
use crate::search::filter::Filter;
use crate::search::{Hit, Query, Ranking, count, search};

/// The answer to a query: `data`, and `errors` if anything failed.
pub(crate) fn execute(
    db: &Db,
    knobs: &Knobs,
    default_limit: usize,
    query: &str,
    variables: &Map<String, Value>,
) -> Value {
    let fields = match parse(query, variables) {
        Ok(fields) => fields,
        Err(message) => return failed(&message),
    };
    let mut data = Map::new();
    let mut errors = Vec::new();
    for field in &fields {
        let mut answers = Map::new();
        for class_field in &field.fields {
            let Some(class) =
                db.class(&class_field.name).filter(|_| matches!(field.name.as_str(), "Get" | "Aggregate"))
            else {
                // The real schema has no such field, so nothing at all is answered.
                let of = if field.name == "Aggregate" { "AggregateObjectsObj" } else { "GetObjectsObj" };
                return failed(&format!("Cannot query field {:?} on type {of:?}.", class_field.name));
            };
            let answer = match field.name.as_str() {
                "Aggregate" => aggregate(&class, class_field, knobs),
                _ => get(&class, class_field, default_limit, knobs),
            };
            match answer {
                Ok(answer) => {
                    answers.insert(class_field.name.clone(), answer);
                }
                Err(message) => {
                    answers.insert(class_field.name.clone(), Value::Null);
                    errors.push(error(&message, &[&field.name, &class_field.name]));
                }
            }
        }
        data.insert(field.name.clone(), Value::Object(answers));
    }
    let mut response = json!({"data": data});
    if !errors.is_empty() {
        response["errors"] = Value::Array(errors);
    }
    response
}

/// Nothing was executed: there is no `data` at all.
fn failed(message: &str) -> Value {
    json!({"errors": [error(message, &[])]})
}

fn error(message: &str, path: &[&str]) -> Value {
    let path = if path.is_empty() { Value::Null } else { json!(path) };
    json!({"locations": [{"column": 12, "line": 1}], "message": message, "path": path})
}

fn only(field: &Field, known: &[&str]) -> Result<(), String> {
    match field.arguments.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => {
            Err(format!("Unknown argument {unknown:?} on field {:?}: not played by this double", field.name))
        }
        None => Ok(()),
    }
}

fn text(field: &Field, name: &str) -> Option<String> {
    field.arguments.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn filter(class: &Collection, field: &Field) -> Result<Option<Filter>, String> {
    let read = |from| Filter::read(from, &class.definition()).map_err(|refusal| refusal.message().to_owned());
    field.arguments.get("where").map(read).transpose()
}

fn number(field: &Field, name: &str, default: usize) -> Result<usize, String> {
    match field.arguments.get(name) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| format!("Argument {name:?} has invalid value {value}")),
    }
}

fn aggregate(class: &Collection, field: &Field, knobs: &Knobs) -> Result<Value, String> {
    only(field, &["tenant", "where"])?;
    for below in &field.fields {
        if below.name != "meta" || below.fields.iter().any(|inner| inner.name != "count") {
            return Err(format!("Cannot query field {:?} on type \"Aggregate{}\".", below.name, class.name));
        }
    }
    let filter = filter(class, field)?;
    let counted = count(class, text(field, "tenant").as_deref(), filter.as_ref(), knobs)
        .map_err(|refusal| refusal.message().to_owned())?;
    Ok(json!([{"meta": {"count": counted}}]))
}

fn get(class: &Collection, field: &Field, default_limit: usize, knobs: &Knobs) -> Result<Value, String> {
    only(field, &["tenant", "where", "limit", "offset", "after", "bm25", "nearObject"])?;
    let ranking = match (field.arguments.get("bm25"), field.arguments.get("nearObject")) {
        (Some(_), Some(_)) => {
            return Err("conflict: both near<Media> and keyword-based (bm25) arguments present, choose one".to_owned());
        }
        (Some(bm25), None) => keyword(bm25)?,
        (None, Some(near)) => near_object(near, knobs.version.own_distance())?,
        (None, None) => Ranking::ById { after: text(field, "after").and_then(|id| id.parse().ok()) },
    };
    let query = Query {
        tenant: text(field, "tenant"),
        filter: filter(class, field)?,
        ranking,
        limit: number(field, "limit", default_limit)?,
        offset: number(field, "offset", 0)?,
    };
    let hits = search(class, &query).map_err(|refusal| refusal.message().to_owned())?;
    Ok(Value::Array(hits.iter().map(|hit| select(hit, &field.fields)).collect()))
}

fn keyword(bm25: &Value) -> Result<Ranking, String> {
    let query = bm25["query"].as_str().unwrap_or_default().to_owned();
    if query.is_empty() {
        return Err("keyword search (bm25) must have query set".to_owned());
    }
    let properties = bm25["properties"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(Ranking::Keyword { query, properties: properties.map(str::to_owned).collect() })
}

fn near_object(near: &Value, own: f32) -> Result<Ranking, String> {
    let id = near["id"]
        .as_str()
        .or_else(|| near["beacon"].as_str().and_then(|beacon| beacon.rsplit('/').next()))
        .unwrap_or_default();
    let id: ObjectId = id.parse().map_err(|()| format!("nearObject: invalid UUID {id:?}"))?;
    #[expect(clippy::cast_possible_truncation, reason = "the server keeps distances as 32-bit floats")]
    let max_distance = near["distance"].as_f64().map(|distance| distance as f32);
    Ok(Ranking::Near { id, vector: near["targetVectors"][0].as_str().map(str::to_owned), max_distance, own })
}

fn select(hit: &Hit, fields: &[Field]) -> Value {
    let mut out = Map::new();
    for field in fields {
        let value = if field.name == "_additional" {
            Value::Object(field.fields.iter().map(|inner| (inner.name.clone(), additional(hit, inner))).collect())
        } else {
            hit.object.properties.get(&field.name).cloned().unwrap_or(Value::Null)
        };
        out.insert(field.name.clone(), value);
    }
    Value::Object(out)
}

fn vector(values: Option<&Vec<f32>>) -> Value {
    values.map_or(Value::Null, |values| values.iter().map(|value| short(*value)).collect())
}

fn additional(hit: &Hit, field: &Field) -> Value {
    let object = &hit.object;
    match field.name.as_str() {
        "id" => json!(object.id.to_string()),
        // A string in the real server; one that is "0" when nothing was scored.
        "score" => json!(hit.score.unwrap_or_default().to_string()),
        "distance" => hit.distance.map_or(Value::Null, short),
        "creationTimeUnix" => json!(object.created_ms.to_string()),
        "lastUpdateTimeUnix" => json!(object.updated_ms.to_string()),
        "vector" => vector(object.vectors.get("")),
        "vectors" => Value::Object(
            field.fields.iter().map(|name| (name.name.clone(), vector(object.vectors.get(&name.name)))).collect(),
        ),
        _ => Value::Null,
    }
}
