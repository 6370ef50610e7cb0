//! `where` filters: the operators that a controller uses; others are refused by name.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::backup::request::matches;
use super::words::{END, Tokenization};
use crate::errors::Refusal;
use crate::objects::Object;

/// A parsed filter.
#[derive(Debug)]
pub(crate) enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Compare { property: String, operator: Operator, kind: String, value: Value, tokenization: Tokenization },
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    GreaterThan,
    GreaterThanEqual,
    LessThan,
    LessThanEqual,
    Like,
    IsNull,
    ContainsAny,
    ContainsAll,
}

impl Filter {
    /// Reads a filter in its JSON form for a class: its properties must be there and of the type that is asked for.
    pub(crate) fn read(from: &Value, definition: &Value) -> Result<Self, Refusal> {
        let mut filter = Self::parse(from).map_err(|error| Refusal::handler(StatusCode::BAD_REQUEST, error))?;
        filter.bind(definition)?;
        Ok(filter)
    }

    fn parse(from: &Value) -> Result<Self, String> {
        let operator = from["operator"].as_str().ok_or("invalid 'where' filter: no operator")?;
        let operands = || -> Result<Vec<Filter>, String> {
            let list = from["operands"].as_array().ok_or_else(|| format!("operator {operator} needs operands"))?;
            list.iter().map(Filter::parse).collect()
        };
        let compare = match operator {
            "And" => return Ok(Self::And(operands()?)),
            "Or" => return Ok(Self::Or(operands()?)),
            "Equal" => Operator::Equal,
            "NotEqual" => Operator::NotEqual,
            "GreaterThan" => Operator::GreaterThan,
            "GreaterThanEqual" => Operator::GreaterThanEqual,
            "LessThan" => Operator::LessThan,
            "LessThanEqual" => Operator::LessThanEqual,
            "Like" => Operator::Like,
            "IsNull" => Operator::IsNull,
            "ContainsAny" => Operator::ContainsAny,
            "ContainsAll" => Operator::ContainsAll,
            other => return Err(format!("invalid 'where' filter: operator {other:?} is not played by this double")),
        };
        let property = match &from["path"] {
            Value::Array(path) if path.len() == 1 => path[0].as_str().map(str::to_owned),
            Value::String(path) => Some(path.clone()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let property = property.ok_or("invalid 'where' filter: path must name one property")?;
        let (kind, value) = from
            .as_object()
            .and_then(|map| map.iter().find(|(name, _)| name.starts_with("value")))
            .map(|(name, value)| (name.clone(), value.clone()))
            .ok_or("invalid 'where' filter: got no value")?;
        Ok(Self::Compare { property, operator: compare, kind, value, tokenization: Tokenization::Word })
    }

    fn bind(&mut self, definition: &Value) -> Result<(), Refusal> {
        let (property, operator, kind, value, tokenization) = match self {
            Self::And(all) | Self::Or(all) => return all.iter_mut().try_for_each(|filter| filter.bind(definition)),
            Self::Compare { property, operator, kind, value, tokenization } => {
                (property, operator, kind, value, tokenization)
            }
        };
        if property == "id" || property.starts_with('_') {
            return Ok(());
        }
        let invalid = |why: String| Refusal::handler(StatusCode::BAD_REQUEST, format!("invalid 'where' filter: {why}"));
        let known = definition["properties"].as_array().into_iter().flatten().find(|p| p["name"] == json!(property));
        let known = known.ok_or_else(|| {
            invalid(format!(
                "no such prop with name '{property}' found in class '{}' in the schema. Check your schema files for which properties in this class are available",
                definition["class"].as_str().unwrap_or_default()
            ))
        })?;
        if *operator == Operator::IsNull {
            return Ok(());
        }
        let data_type = known["dataType"][0].as_str().unwrap_or_default().trim_end_matches("[]");
        let field = match data_type {
            "int" => "valueInt",
            "number" => "valueNumber",
            "boolean" => "valueBoolean",
            "date" => "valueDate",
            _ => "valueText",
        };
        if kind != field && !(field == "valueText" && kind == "valueString") {
            return Err(invalid(format!(
                "data type filter cannot use {kind:?} on type {data_type:?}, use {field:?} instead"
            )));
        }
        *tokenization = if data_type == "text" { Tokenization::of(known) } else { Tokenization::Field };
        let nothing = value.as_str().is_some_and(|text| tokenization.wanted(text).is_empty());
        if *operator == Operator::Equal && data_type == "text" && nothing {
            return Err(Refusal::internal(
                "retrieve doc IDs from searcher: invalid search term, only stopwords provided. Stopwords can be configured in class.invertedIndexConfig.stopwords",
            ));
        }
        Ok(())
    }

    /// Whether the object passes.
    pub(crate) fn matches(&self, object: &Object) -> bool {
        match self {
            Self::And(all) => all.iter().all(|filter| filter.matches(object)),
            Self::Or(any) => any.iter().any(|filter| filter.matches(object)),
            Self::Compare { property, operator, value, tokenization, .. } => {
                let id;
                let found = match property.as_str() {
                    "id" | "_id" => {
                        id = Value::String(object.id.to_string());
                        Some(&id)
                    }
                    name => object.properties.get(name).filter(|found| !found.is_null()),
                };
                holds(*operator, found, value, *tokenization)
            }
        }
    }
}

fn holds(operator: Operator, found: Option<&Value>, value: &Value, tokenization: Tokenization) -> bool {
    if operator == Operator::IsNull {
        return found.is_none() == (*value == Value::Bool(true));
    }
    let Some(found) = found else { return operator == Operator::NotEqual };
    let items: Vec<&Value> = found.as_array().map_or_else(|| vec![found], |list| list.iter().collect());
    let wanted: Vec<&Value> = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
    let any = |test: &dyn Fn(&Value) -> bool| items.iter().any(|item| test(item));
    let order = |item: &Value| compare(item, value);
    match operator {
        Operator::Equal => any(&|item| equal(item, value, tokenization)),
        Operator::NotEqual => !any(&|item| equal(item, value, tokenization)),
        Operator::GreaterThan => any(&|item| order(item).is_some_and(std::cmp::Ordering::is_gt)),
        Operator::GreaterThanEqual => any(&|item| order(item).is_some_and(std::cmp::Ordering::is_ge)),
        Operator::LessThan => any(&|item| order(item).is_some_and(std::cmp::Ordering::is_lt)),
        Operator::LessThanEqual => any(&|item| order(item).is_some_and(std::cmp::Ordering::is_le)),
        Operator::Like => any(&|item| match (item.as_str(), value.as_str()) {
            (Some(item), Some(pattern)) => matches(pattern.to_lowercase().as_bytes(), item.to_lowercase().as_bytes()),
            _ => false,
        }),
        Operator::ContainsAny => wanted.iter().any(|want| any(&|item| equal(item, want, tokenization))),
        Operator::ContainsAll => wanted.iter().all(|want| any(&|item| equal(item, want, tokenization))),
        Operator::IsNull => false,
    }
}

/// Text is compared word by word as its property is tokenized, in any order; numbers as numbers.
fn equal(item: &Value, value: &Value, tokenization: Tokenization) -> bool {
    match (item, value) {
        (Value::String(item), Value::String(value)) => {
            if item == value {
                return true;
            }
            let mut have = String::from(END);
            tokenization.append(item, &mut have);
            let want = tokenization.wanted(value);
            !want.is_empty() && want.iter().all(|word| have.contains(&format!("{END}{word}{END}")))
        }
        (Value::Number(_), Value::Number(_)) => compare(item, value) == Some(std::cmp::Ordering::Equal),
        _ => item == value,
    }
}

fn compare(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => match (a.parse::<jiff::Timestamp>(), b.parse::<jiff::Timestamp>()) {
            (Ok(a), Ok(b)) => Some(a.cmp(&b)),
            _ => Some(a.cmp(b)),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ObjectId;

    fn read(filter: &Value) -> Result<bool, Refusal> {
        let object = Object {
            id: ObjectId([0; 16]),
            created_ms: 0,
            updated_ms: 0,
            properties: serde_json::from_value(json!({"title": "Red Green", "n": 5, "tags": ["a", "b"]})).unwrap(),
            vectors: std::collections::BTreeMap::new(),
        };
        let definition = json!({"class": "A", "properties": [{"name": "title", "dataType": ["text"]},
            {"name": "n", "dataType": ["int"]}, {"name": "tags", "dataType": ["text[]"], "tokenization": "field"}]});
        Filter::read(filter, &definition).map(|filter| filter.matches(&object))
    }

    fn passes(filter: &Value) -> bool {
        read(filter).unwrap()
    }

    #[test]
    fn a_filter_that_does_not_fit_the_schema_is_refused_and_not_counted_as_nothing() {
        for (path, field, value, status) in [
            ("nothing", "valueInt", json!(1), 400),
            ("n", "valueText", json!("5"), 400),
            ("n", "valueNumber", json!(5), 400),
            ("title", "valueText", json!("the"), 500),
        ] {
            let refused = read(&json!({"path": [path], "operator": "Equal", field: value}));
            assert_eq!(refused.unwrap_err().status.as_u16(), status, "{path} {field}");
        }
        let stop_words = json!({"path": ["title"], "operator": "Equal", "valueText": "the red of"});
        assert!(passes(&stop_words), "stop words count for nothing");
    }

    #[test]
    fn filters_compare_words_numbers_and_lists() {
        assert!(passes(&json!({"path": ["title"], "operator": "Equal", "valueText": "green"})));
        assert!(!passes(&json!({"path": ["title"], "operator": "Equal", "valueText": "blue"})));
        assert!(passes(&json!({"path": ["n"], "operator": "GreaterThanEqual", "valueInt": 5})));
        assert!(passes(&json!({"path": ["tags"], "operator": "ContainsAny", "valueText": ["z", "b"]})));
        assert!(passes(&json!({"operator": "And", "operands": [
            {"path": ["n"], "operator": "LessThan", "valueInt": 6},
            {"path": ["title"], "operator": "Like", "valueText": "red*"}]})));
        assert!(read(&json!({"path": ["n"], "operator": "WithinGeoRange", "valueGeoRange": {}})).is_err());
    }
}
