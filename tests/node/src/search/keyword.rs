//! Keyword search: BM25 with the server's default parameters over the words of text properties.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Hit;
use super::words::{END, Tokenization};
use crate::errors::Refusal;
use crate::objects::Object;

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// Ranks the candidates that have at least one of the words, against the statistics of all objects.
pub(crate) fn rank(
    definition: &Value,
    all: &[Arc<Object>],
    candidates: Vec<Arc<Object>>,
    query: &str,
    properties: &[String],
) -> Result<Vec<Hit>, Refusal> {
    let searchable: BTreeMap<&str, Tokenization> = definition["properties"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|property| property["indexSearchable"] == Value::Bool(true))
        .filter_map(|property| Some((property["name"].as_str()?, Tokenization::of(property))))
        .collect();
    if searchable.is_empty() {
        let name = definition["class"].as_str().unwrap_or_default();
        return Err(Refusal::unprocessable(format!(
            "collection {name} has no searchable properties for a keyword search"
        )));
    }
    let fields: Vec<(&str, Tokenization, f64)> = if properties.is_empty() {
        searchable.iter().map(|(name, tokenization)| (*name, *tokenization, 1.0)).collect()
    } else {
        properties
            .iter()
            .map(|asked| {
                let (name, boost) = asked.split_once('^').unwrap_or((asked, "1"));
                match searchable.get(name) {
                    Some(tokenization) => Ok((name, *tokenization, boost.parse().unwrap_or(1.0))),
                    None => Err(Refusal::unprocessable(format!(
                        "Searching by property '{name}' requires inverted index. Is `indexSearchable` option of property '{name}' enabled? Set it to `true` or leave empty"
                    ))),
                }
            })
            .collect::<Result<_, _>>()?
    };
    let mut scores: Vec<(Arc<Object>, f64)> = candidates.into_iter().map(|object| (object, 0.0)).collect();
    let total = count(all.len());
    for (field, tokenization, boost) in fields {
        let mut terms = tokenization.wanted(query);
        terms.sort();
        terms.dedup();
        let owns: Vec<String> = scores.iter().map(|(object, _)| text(object, field, tokenization)).collect();
        let texts: Vec<String> = all.iter().map(|object| text(object, field, tokenization)).collect();
        let lengths = texts.iter().map(|text| text.split(END).filter(|word| !word.is_empty()).count()).sum::<usize>();
        let average = (count(lengths) / total.max(1.0)).max(1.0);
        for term in &terms {
            let padded = format!("{END}{term}{END}");
            let having = count(texts.iter().filter(|text| text.contains(&padded)).count());
            let rarity = (1.0 + (total - having + 0.5) / (having + 0.5)).ln();
            for ((_, score), own) in scores.iter_mut().zip(&owns) {
                if own.contains(&padded) {
                    let length = count(own.split(END).filter(|word| !word.is_empty()).count());
                    let frequency = count(own.split(END).filter(|word| word == term).count());
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

/// The words of a property, each with an [`END`] before and behind it.
fn text(object: &Object, field: &str, tokenization: Tokenization) -> String {
    let mut padded = String::from(END);
    let mut add = |value: &Value| {
        if let Some(text) = value.as_str() {
            tokenization.append(text, &mut padded);
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
