//! Keyword search: BM25 with the server's default parameters over the words of text properties.

use std::sync::Arc;

use serde_json::Value;

use super::Hit;
use crate::errors::Refusal;
use crate::objects::Object;

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// Lower-case runs of letters and digits.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Ranks the candidates that have at least one of the words, against the statistics of all objects.
pub(crate) fn rank(
    definition: &Value,
    all: &[Arc<Object>],
    candidates: Vec<Arc<Object>>,
    query: &str,
    properties: &[String],
) -> Result<Vec<Hit>, Refusal> {
    let searchable: Vec<&str> = definition["properties"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|property| property["indexSearchable"] == Value::Bool(true))
        .filter_map(|property| property["name"].as_str())
        .collect();
    if searchable.is_empty() {
        let name = definition["class"].as_str().unwrap_or_default();
        return Err(Refusal::unprocessable(format!(
            "collection {name} has no searchable properties for a keyword search"
        )));
    }
    let fields: Vec<(String, f64)> = if properties.is_empty() {
        searchable.iter().map(|name| ((*name).to_owned(), 1.0)).collect()
    } else {
        properties
            .iter()
            .map(|asked| {
                let (name, boost) = asked.split_once('^').unwrap_or((asked, "1"));
                if !searchable.contains(&name) {
                    return Err(Refusal::unprocessable(format!("bm25 search: property {name} is not indexed. Please choose another property or add an index to this property")));
                }
                Ok((name.to_owned(), boost.parse().unwrap_or(1.0)))
            })
            .collect::<Result<_, _>>()?
    };
    let mut terms = words(query);
    terms.sort();
    terms.dedup();
    let mut scores: Vec<(Arc<Object>, f64)> = candidates.into_iter().map(|object| (object, 0.0)).collect();
    let total = count(all.len());
    for (field, boost) in &fields {
        let texts: Vec<String> = all.iter().map(|object| text(object, field)).collect();
        let lengths = texts.iter().map(|text| text.split(' ').filter(|word| !word.is_empty()).count()).sum::<usize>();
        let average = (count(lengths) / total.max(1.0)).max(1.0);
        for term in &terms {
            let padded = format!(" {term} ");
            let having = count(texts.iter().filter(|text| text.contains(&padded)).count());
            let rarity = (1.0 + (total - having + 0.5) / (having + 0.5)).ln();
            for (object, score) in &mut scores {
                let own = text(object, field);
                if own.contains(&padded) {
                    let length = count(own.split(' ').filter(|word| !word.is_empty()).count());
                    let frequency = count(own.split(' ').filter(|word| word == term).count());
                    *score += boost * rarity * frequency / (frequency + K1 * (1.0 - B + B * length / average));
                }
            }
        }
    }
    scores.retain(|(_, score)| *score > 0.0);
    scores.sort_by(|(a, a_score), (b, b_score)| {
        b_score.partial_cmp(a_score).unwrap_or(std::cmp::Ordering::Equal).then(a.id.cmp(&b.id))
    });
    #[expect(clippy::cast_possible_truncation, reason = "the server keeps scores as 32-bit floats")]
    let hit = |(object, score): (Arc<Object>, f64)| Hit { object, score: Some(score as f32), distance: None };
    Ok(scores.into_iter().map(hit).collect())
}

/// The words of a property, each between single spaces.
fn text(object: &Object, field: &str) -> String {
    let mut padded = String::from(" ");
    let mut add = |value: &Value| {
        if let Some(text) = value.as_str() {
            for c in text.chars() {
                if c.is_alphanumeric() {
                    padded.extend(c.to_lowercase());
                } else if !padded.ends_with(' ') {
                    padded.push(' ');
                }
            }
            if !padded.ends_with(' ') {
                padded.push(' ');
            }
        }
    };
    match object.properties.get(field) {
        Some(Value::Array(items)) => items.iter().for_each(&mut add),
        Some(one) => add(one),
        None => {}
    }
    padded
}

#[expect(clippy::cast_precision_loss, reason = "document counts are far below 2^52")]
fn count(n: usize) -> f64 {
    n as f64
}
