//! The `--config-file`: JSON, or the block subset of YAML that such files use (maps, lists, inline lists, scalars).

use std::path::Path;

use serde_json::{Map, Value};

/// Reads a file into a JSON value. As in the real server, a file that cannot be read or is empty is silently no file
/// at all (and leaves the server open to anyone, if nothing else asks for keys); the name must end in `.json` or `.yaml`.
pub(crate) fn read(path: &Path) -> Result<Value, String> {
    let Some(text) = std::fs::read_to_string(path).ok().filter(|text| !text.is_empty()) else {
        return Ok(Value::Null);
    };
    if !path.extension().is_some_and(|extension| extension == "json" || extension == "yaml") {
        return Err(format!("config file {}: unknown extension, use .json or .yaml", path.display()));
    }
    parse(&text).map_err(|error| format!("error parsing config file {}: {error}", path.display()))
}

/// Parses JSON when the text starts like it, else YAML.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    let lines: Vec<(usize, &str)> = text
        .lines()
        .map(|line| match line.find(" #") {
            Some(at) => &line[..at],
            None => line,
        })
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#') && line.trim() != "---")
        .map(|line| (line.len() - line.trim_start().len(), line.trim()))
        .collect();
    let mut at = 0;
    let value = match lines.first() {
        None => Value::Null,
        Some((indent, _)) => block(&lines, &mut at, *indent)?,
    };
    if at < lines.len() {
        return Err(format!("unexpected indentation at {:?}", lines[at].1));
    }
    Ok(value)
}

fn block(lines: &[(usize, &str)], at: &mut usize, indent: usize) -> Result<Value, String> {
    if lines[*at].1 == "-" || lines[*at].1.starts_with("- ") {
        let mut items = Vec::new();
        while let Some((depth, line)) = lines.get(*at) {
            let Some(item) = line.strip_prefix('-').filter(|_| *depth == indent) else { break };
            items.push(scalar(item.trim())?);
            *at += 1;
        }
        return Ok(Value::Array(items));
    }
    let mut map = Map::new();
    while let Some((depth, line)) = lines.get(*at) {
        if *depth != indent {
            break;
        }
        let (name, rest) = line.split_once(':').ok_or_else(|| format!("no key in {line:?}"))?;
        *at += 1;
        let value = if rest.trim().is_empty() {
            match lines.get(*at) {
                Some((deeper, next)) if *deeper > indent || (*deeper == indent && next.starts_with('-')) => {
                    block(lines, at, *deeper)?
                }
                _ => Value::Null,
            }
        } else {
            scalar(rest.trim())?
        };
        map.insert(name.trim().trim_matches(['"', '\'']).to_owned(), value);
    }
    Ok(Value::Object(map))
}

fn scalar(text: &str) -> Result<Value, String> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(|| format!("unclosed list {text:?}"))?;
        return inner.split(',').filter(|item| !item.trim().is_empty()).map(|item| scalar(item.trim())).collect();
    }
    if let Some(quoted) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        return Ok(Value::String(quoted.to_owned()));
    }
    if let Some(quoted) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        return Ok(Value::String(quoted.to_owned()));
    }
    Ok(match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" | "~" => Value::Null,
        _ => Value::String(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_read_from_block_and_inline_yaml_and_from_json() {
        let expected = json!({"authentication": {"apikey": {"enabled": true, "allowed_keys": ["a", "b"]}}});
        for text in [
            "authentication:\n  apikey:\n    enabled: true\n    allowed_keys:\n      - a\n      - \"b\"\n",
            "# keys\nauthentication:\n  apikey:\n    enabled: true\n    allowed_keys: [a, 'b']\n",
            "{\"authentication\":{\"apikey\":{\"enabled\":true,\"allowed_keys\":[\"a\",\"b\"]}}}",
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(parse("authentication").is_err());
        assert!(parse("a:\n    b: 1\n  c: 2\n").is_err());
    }
}
