//! The schemas beside the documentation are those of the types, and agree with the code about what is a document.

mod kinds;

use std::collections::BTreeSet;

use jsonschema::Validator;
use lifeboat_domain::manifest::CatalogueRow;
use lifeboat_tidy::schema::{Schema, schemas};
use lifeboat_tidy::{blocks, files, read, root};
use serde_json::{Value, json};

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(schema).expect("it is a JSON Schema")
}

/// The committed schema of each kind, with every example of it in docs/formats.md.
fn cases() -> Vec<(String, Validator, Value)> {
    let examples = blocks(&read("docs/formats.md"), "json");
    assert!(examples.len() > 20);
    let case = |(kind, example): (String, String)| {
        let schema: Value = serde_json::from_str(&read(&format!("docs/schemas/{kind}.schema.json"))).expect("JSON");
        let example = serde_json::from_str(&example).unwrap_or_else(|e| panic!("{kind}: {e}"));
        (kind, validator(&schema), example)
    };
    examples.into_iter().map(case).collect()
}

/// Whether the code takes it.
fn code(kind: &str, value: &Value) -> Option<bool> {
    match kind {
        "objects.ndjson" => Some(serde_json::from_value::<CatalogueRow>(value.clone()).is_ok()),
        kind => kinds::reads(kind, &value.to_string()),
    }
}

/// After a field was added: `LIFEBOAT_REWRITE_EXAMPLES=yes cargo test -p lifeboat-tidy` writes the schemas anew.
#[test]
fn the_schemas_are_those_of_the_types_and_there_is_one_for_every_kind() {
    let rewrite = std::env::var("LIFEBOAT_REWRITE_EXAMPLES").is_ok_and(|v| v == "yes");
    let schemas = schemas();
    for schema in &schemas {
        if rewrite {
            std::fs::write(root().join(schema.path()), schema.text()).expect("docs/schemas can be written");
        }
        let committed = std::fs::read_to_string(root().join(schema.path())).unwrap_or_default();
        assert!(committed == schema.text(), "{} is not as the type is; LIFEBOAT_REWRITE_EXAMPLES=yes", schema.path());
    }
    let expected: BTreeSet<String> = schemas.iter().map(Schema::path).collect();
    let found = files().into_iter().map(|f| f.path).filter(|p| p.starts_with("docs/schemas/") && p.ends_with(".json"));
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn every_example_is_valid_by_its_schema_and_every_field_of_it_is_described() {
    for (kind, validator, example) in cases() {
        let errors: Vec<String> =
            validator.iter_errors(&example).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{kind}: {errors:#?}");
    }
}

#[test]
fn an_unknown_field_is_ignored_and_another_kind_or_a_higher_major_is_refused_by_schema_and_code_alike() {
    for (kind, validator, example) in cases() {
        for (at, more) in objects(&example).into_iter().map(|at| (at.clone(), with(&example, &at, "of_a_newer_minor")))
        {
            assert!(validator.is_valid(&more), "{kind}: the schema refuses an unknown field at {at}");
            assert_ne!(code(&kind, &more), Some(false), "{kind}: the code refuses an unknown field at {at}");
        }
        if kind == "objects.ndjson" {
            continue;
        }
        let schema = example["schema"].as_str().expect("a document says what it is").to_owned();
        let (_, minor) = schema.rsplit_once('.').expect("a version has a minor");
        let newer = schema.replace(&format!(".{minor}"), ".99");
        let major = format!("lifeboat/{kind}/99.0");
        for (text, valid) in [(newer.as_str(), true), (&major, false), ("lifeboat/other/1.0", false), ("", false)] {
            let mut changed = example.clone();
            changed["schema"] = json!(text);
            assert_eq!(validator.is_valid(&changed), valid, "{kind}: the schema on {text:?}");
            assert!(code(&kind, &changed).is_none_or(|takes| takes == valid), "{kind}: the code on {text:?}");
        }
    }
}

/// Each field of each example left out, made null, and made something else: the code refuses exactly what the schema
/// refuses.
#[test]
fn schema_and_code_agree_on_what_is_required_and_of_which_type() {
    let (mut asked, mut refused, mut differ) = (0, 0, Vec::new());
    for (kind, validator, example) in cases() {
        for at in pointers(&example) {
            let mut changes: Vec<Value> =
                vec![replaced(&example, &at, Some(json!(null))), replaced(&example, &at, None)];
            for other in [json!("!? nothing of ours"), json!(-1), json!(true), json!([]), json!({})] {
                changes.push(replaced(&example, &at, Some(other)));
            }
            for changed in changes {
                let Some(takes) = code(&kind, &changed) else { continue };
                asked += 1;
                refused += usize::from(!takes);
                if validator.is_valid(&changed) != takes {
                    let value = changed.pointer(&at);
                    differ
                        .push(format!("{kind} at {at}: the code takes {value:?}: {takes}, the schema does not agree"));
                }
            }
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    eprintln!("{asked} changed documents: {refused} refused, {} taken, by schema and code alike", asked - refused);
    assert!(asked > 2000 && refused > 1000, "{asked} {refused}");
}

/// The JSON pointers of every value but the root.
fn pointers(value: &Value) -> Vec<String> {
    let below = |name: &str, child: &Value| {
        let name = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        std::iter::once(name.clone()).chain(pointers(child).into_iter().map(move |p| format!("{name}{p}"))).collect()
    };
    let lists: Vec<Vec<String>> = match value {
        Value::Object(map) => map.iter().map(|(name, child)| below(name, child)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(n, child)| below(&n.to_string(), child)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    lists.concat()
}

/// The JSON pointers of every object with something in it, the root too.
fn objects(value: &Value) -> Vec<String> {
    let mut found = pointers(value);
    found.insert(0, String::new());
    found.retain(|at| value.pointer(at).and_then(Value::as_object).is_some_and(|object| !object.is_empty()));
    found
}

fn with(value: &Value, at: &str, field: &str) -> Value {
    let mut value = value.clone();
    // In a map from names to documents of one type, a new name needs one of them.
    let object = value.pointer_mut(at).and_then(Value::as_object_mut).expect("it is an object");
    let like = object.values().next().cloned().unwrap_or(json!(null));
    object.insert(field.to_owned(), like);
    value
}

fn replaced(value: &Value, at: &str, new: Option<Value>) -> Value {
    let mut value = value.clone();
    let (parent, name) = at.rsplit_once('/').expect("it is no root");
    let name = name.replace("~1", "/").replace("~0", "~");
    match (value.pointer_mut(parent).expect("the parent is there"), new) {
        (Value::Object(map), Some(new)) => drop(map.insert(name, new)),
        (Value::Object(map), None) => drop(map.remove(&name)),
        (Value::Array(list), new) => {
            let n: usize = name.parse().expect("an index");
            list.remove(n);
            list.extend(new);
        }
        _ => unreachable!("only objects and arrays have children"),
    }
    value
}
