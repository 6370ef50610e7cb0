//! `where` filters: the operators that a controller uses; others are refused by name.

use serde_json::Value;

use super::super::backup::request::matches;
use crate::objects::Object;

/// A parsed filter.
#[derive(Debug)]
pub(crate) enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Compare { property: String, operator: Operator, value: Value },
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
    /// Reads a filter in its JSON form.
    pub(crate) fn parse(from: &Value) -> Result<Self, String> {
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
        let value = from
            .as_object()
            .and_then(|map| map.iter().find(|(name, _)| name.starts_with("value")))
            .map(|(_, value)| value.clone())
            .ok_or("invalid 'where' filter: got no value")?;
        Ok(Self::Compare { property, operator: compare, value })
    }

    /// Whether the object passes.
    pub(crate) fn matches(&self, object: &Object) -> bool {
        match self {
            Self::And(all) => all.iter().all(|filter| filter.matches(object)),
            Self::Or(any) => any.iter().any(|filter| filter.matches(object)),
            Self::Compare { property, operator, value } => {
                let id;
                let found = match property.as_str() {
                    "id" | "_id" => {
                        id = Value::String(object.id.to_string());
                        Some(&id)
                    }
                    name => object.properties.get(name).filter(|found| !found.is_null()),
                };
                holds(*operator, found, value)
            }
        }
    }
}

fn holds(operator: Operator, found: Option<&Value>, value: &Value) -> bool {
    if operator == Operator::IsNull {
        return found.is_none() == (*value == Value::Bool(true));
    }
    let Some(found) = found else { return operator == Operator::NotEqual };
    let items: Vec<&Value> = found.as_array().map_or_else(|| vec![found], |list| list.iter().collect());
    let wanted: Vec<&Value> = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
    let any = |test: &dyn Fn(&Value) -> bool| items.iter().any(|item| test(item));
    let order = |item: &Value| compare(item, value);
    match operator {
        Operator::Equal => any(&|item| equal(item, value)),
        Operator::NotEqual => !any(&|item| equal(item, value)),
        Operator::GreaterThan => any(&|item| order(item).is_some_and(std::cmp::Ordering::is_gt)),
        Operator::GreaterThanEqual => any(&|item| order(item).is_some_and(std::cmp::Ordering::is_ge)),
        Operator::LessThan => any(&|item| order(item).is_some_and(std::cmp::Ordering::is_lt)),
        Operator::LessThanEqual => any(&|item| order(item).is_some_and(std::cmp::Ordering::is_le)),
        Operator::Like => any(&|item| match (item.as_str(), value.as_str()) {
            (Some(item), Some(pattern)) => matches(pattern.to_lowercase().as_bytes(), item.to_lowercase().as_bytes()),
            _ => false,
        }),
        Operator::ContainsAny => wanted.iter().any(|want| any(&|item| equal(item, want))),
        Operator::ContainsAll => wanted.iter().all(|want| any(&|item| equal(item, want))),
        Operator::IsNull => false,
    }
}

/// Text is compared word by word without case, as the default tokenization does; numbers as numbers.
fn equal(item: &Value, value: &Value) -> bool {
    match (item, value) {
        (Value::String(item), Value::String(value)) => {
            if item == value {
                return true;
            }
            let have = super::keyword::words(item);
            let want = super::keyword::words(value);
            !want.is_empty() && want.iter().all(|word| have.contains(word))
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
    use serde_json::json;

    fn passes(filter: &Value) -> bool {
        let object = Object {
            id: ObjectId([0; 16]),
            created_ms: 0,
            updated_ms: 0,
            properties: serde_json::from_value(json!({"title": "Red Green", "n": 5, "tags": ["a", "b"]})).unwrap(),
            vectors: std::collections::BTreeMap::new(),
        };
        Filter::parse(filter).unwrap().matches(&object)
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
        assert!(Filter::parse(&json!({"path": ["n"], "operator": "WithinGeoRange", "valueGeoRange": {}})).is_err());
    }
}
