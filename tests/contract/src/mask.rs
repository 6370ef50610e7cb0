//! What of an answer is chance: times, durations, addresses, where the bucket lies. The rest is compared to the letter.

use serde_json::{Map, Value, json};

/// Texts to replace, with what stands for them.
pub(crate) type Names = Vec<(String, &'static str)>;

/// Masks a text.
pub(crate) fn text(text: &str, names: &Names) -> String {
    let mut text = text.to_owned();
    for (name, mask) in names {
        text = text.replace(name.as_str(), mask);
    }
    again(&text)
}

/// What of a text is chance whatever the names are.
fn again(text: &str) -> String {
    class_lists(&staged(&durations(&go_times(&times(&pointers(text))))))
        .replace("\"verbose\", \"minimal\"", "\"minimal\", \"verbose\"")
        .replace("[POST,GET]", "[GET,POST]")
        .replace("[application/yaml application/json]", "[application/json application/yaml]")
}

/// Masks an outcome that was recorded by an earlier release of these masks.
pub(crate) fn once_more(document: &Value) -> Value {
    value(document, &Vec::new())
}

/// Masks every text of a document, and the numbers that depend on sizes.
pub(crate) fn value(document: &Value, names: &Names) -> Value {
    match document {
        Value::String(string) => Value::String(text(string, names)),
        Value::Array(items) => Value::Array(items.iter().map(|item| value(item, names)).collect()),
        Value::Object(fields) => Value::Object(
            fields.iter().map(|(name, field)| (text(name, names), sized(name, value(field, names)))).collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => document.clone(),
    }
}

/// Sizes are of the engine's own files: only whether there is one is compared. Classes are sorted.
fn sized(name: &str, field: Value) -> Value {
    match name {
        // The order of a Go map.
        "classes" if field.as_array().is_some_and(|list| list.iter().all(Value::is_string)) => {
            let mut list = field.as_array().cloned().unwrap_or_default();
            list.sort_by_key(Value::to_string);
            Value::Array(list)
        }
        "size" | "preCompressionSizeBytes" if field.as_f64().is_some_and(|n| n > 0.0) => json!("<more than 0>"),
        _ => field,
    }
}

/// The shape of a document: fields and types; a list has the shapes that its items have.
pub(crate) fn shape(document: &Value) -> Value {
    match document {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => {
            let mut shapes: Vec<Value> = Vec::new();
            for item in items.iter().map(shape) {
                if !shapes.contains(&item) {
                    shapes.push(item);
                }
            }
            shapes.sort_by_key(Value::to_string);
            Value::Array(shapes)
        }
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, field)| (name.clone(), shape(field))).collect::<Map<_, _>>())
        }
    }
}

/// `0xc000123456` becomes `0x…`.
fn pointers(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("0x") {
        out.push_str(&rest[..at + 2]);
        rest = &rest[at + 2..];
        let digits = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        if digits > 0 {
            out.push('…');
        }
        rest = &rest[digits..];
    }
    out + rest
}

/// `after 0.0123 seconds` becomes `after <n> seconds`.
fn durations(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for at in 1..words.len() {
        if words[at].starts_with("seconds") && words[at - 1].parse::<f64>().is_ok() {
            words[at - 1] = "<n>";
        }
    }
    words.join(" ")
}

/// Go's own print of a time, but the zero one: except where a backup that was never made is asked for. There it is the
/// begin of the last operation, and zero on a server that had none yet.
fn go_times(text: &str) -> String {
    let of_the_last = text.contains("/backup_config.json not found");
    let mut out = String::new();
    let mut rest = text;
    while let Some(end) = rest.find(" +0000 UTC") {
        let begin = rest[..end].rfind(['{', '[', '(', ' ']).and_then(|space| {
            // The date stands before the blank that stands before the time of day.
            let day = rest[..space].rfind(['{', '[', '(', ' '])?;
            (rest.as_bytes()[space] == b' ').then_some(day + 1)
        });
        let is_zero = !of_the_last && begin.is_some_and(|at| rest[at..].starts_with("0001-01-01"));
        match begin {
            Some(at) if !is_zero => {
                out.push_str(&rest[..at]);
                out.push_str("<time>");
            }
            Some(_) | None => out.push_str(&rest[..end + " +0000 UTC".len()]),
        }
        rest = &rest[end + " +0000 UTC".len()..];
    }
    out + rest
}

/// A file below `.backup.tmp`, whose name is the engine's own.
fn staged(text: &str) -> String {
    let Some(at) = text.find("/.backup.tmp/") else { return text.to_owned() };
    let begin = text[..at].rfind([' ', '"']).map_or(0, |blank| blank + 1);
    let end = text[at..].find([':', ' ', '"']).map_or(text.len(), |stop| at + stop);
    format!("{}<staged file>{}", &text[..begin], &text[end..])
}

/// Lists of the suite's classes come in the order of a Go map: `[Author Article]` is sorted.
fn class_lists(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let Some(length) = rest[at..].find(']') else { break };
        let mut words: Vec<&str> = rest[at + 1..at + length].split(' ').collect();
        if words.iter().all(|word| word.ends_with("Article") || word.ends_with("Author")) {
            words.sort_unstable();
        }
        out.push_str(&rest[..=at]);
        out.push_str(&words.join(" "));
        rest = &rest[at + length..];
    }
    out + rest
}

/// RFC 3339 times, but the zero time; how many decimals they have is part of the form where it is three, as in REST.
fn times(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    'text: while !rest.is_empty() {
        if let Some((length, decimals)) = time(rest.as_bytes()) {
            let found = &rest[..length];
            out.push_str(match (found.starts_with("0001-01-01"), decimals) {
                (true, _) => found,
                (false, 3) => "<time.3>",
                (false, _) => "<time>",
            });
            rest = &rest[length..];
            continue 'text;
        }
        let next = rest.chars().next().map_or(1, char::len_utf8);
        out.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    out
}

/// The length of the time that the text begins with, and its decimals.
fn time(text: &[u8]) -> Option<(usize, usize)> {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let fits = text.len() > FORM.len()
        && FORM.iter().zip(text).all(|(form, byte)| if *form == b'd' { byte.is_ascii_digit() } else { form == byte });
    if !fits {
        return None;
    }
    let mut at = FORM.len();
    let mut decimals = 0;
    if text.get(at) == Some(&b'.') {
        decimals = text[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        at += 1 + decimals;
    }
    match text.get(at) {
        Some(b'Z') => Some((at + 1, decimals)),
        Some(b'+' | b'-') if text.len() >= at + 6 => Some((at + 6, decimals)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chance_is_masked() {
        let names = vec![("s3://b/run-1".to_owned(), "s3://BUCKET/PATH")];
        assert_eq!(
            text("\"s3://b/run-1/a\" at 2026-01-02T03:04:05.678Z or 2026-01-02T03:04:05Z", &names),
            "\"s3://BUCKET/PATH/a\" at <time.3> or <time>"
        );
        assert_eq!(text("0001-01-01T00:00:00.000Z", &names), "0001-01-01T00:00:00.000Z");
        assert_eq!(text("nodes=map[a:0xc00012ab]", &names), "nodes=map[a:0x…]");
        assert_eq!(text("failed after 0.013 seconds with: x", &names), "failed after <n> seconds with: x");
        assert_eq!(
            text("store: {2026-11-20 14:40:16.742 +0000 UTC    } {0001-01-01 00:00:00 +0000 UTC }", &names),
            "store: {<time>    } {0001-01-01 00:00:00 +0000 UTC }"
        );
        assert_eq!(
            text("copy file /a/b/.backup.tmp/A/a/x.db: copy: EOF", &names),
            "copy file <staged file>: copy: EOF"
        );
        assert_eq!(text("from : [Author Article] or [b a]", &names), "from : [Article Author] or [b a]");
        assert_eq!(value(&json!({"size": 0.5, "n": 3}), &names), json!({"size": "<more than 0>", "n": 3}));
    }

    #[test]
    fn a_shape_has_fields_and_types() {
        let document = json!({"a": [1, 2, "x"], "b": null});
        assert_eq!(shape(&document), json!({"a": ["number", "string"], "b": "null"}));
    }
}
