//! JSON Schemas of our documents, read out of the sources: each type's fields, serde attributes and first line of
//! documentation. The types stay the one home of a format, and nothing has to be derived or linked for it.
//!
//! A construct that it does not know is a panic, never a looser schema.

#![expect(clippy::wildcard_enum_match_arm, reason = "Rust's syntax has more kinds than a format has")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use syn::{Attribute, Expr, Fields, GenericArgument, Item, Lit, PathArguments, Type};

use crate::files;

/// One kind of document and the schema of its current major version.
#[derive(Debug, Clone)]
pub struct Schema {
    /// The kind, or the file's name for one that is no document.
    pub kind: String,
    /// The schema.
    pub value: Value,
}

impl Schema {
    /// Where it lies.
    pub fn path(&self) -> String {
        format!("docs/schemas/{}.schema.json", self.kind)
    }

    /// Its bytes.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.value)
    }
}

/// The schema of every kind of document in the sources, and of a row of `objects.ndjson`.
///
/// # Panics
/// If the sources have a construct that this does not know.
pub fn schemas() -> Vec<Schema> {
    let types = Types::read();
    let mut found: Vec<Schema> = types.documents.iter().map(|document| types.document(document)).collect();
    let (row, mut definitions) = ("shared/domain/src/manifest.rs", BTreeMap::new());
    let mut value = types.item(row, "CatalogueRow", &mut definitions);
    head(&mut value, "objects.ndjson", "lifeboat: a row of objects.ndjson");
    definitions_into(&mut value, definitions);
    found.push(Schema { kind: "objects.ndjson".to_owned(), value });
    found.sort_by(|a, b| a.kind.cmp(&b.kind));
    found
}

struct DocumentType {
    file: String,
    name: String,
    kind: String,
    major: u32,
}

struct Types {
    items: BTreeMap<String, Vec<(String, Item)>>,
    documents: Vec<DocumentType>,
}

fn head(value: &mut Value, kind: &str, title: &str) {
    value["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    value["$id"] = json!(format!("urn:lifeboat:schema:{kind}"));
    value["title"] = json!(title);
}

fn definitions_into(value: &mut Value, definitions: BTreeMap<String, Value>) {
    if !definitions.is_empty() {
        value["$defs"] = json!(definitions);
    }
}

impl Types {
    fn read() -> Self {
        let mut types = Self { items: BTreeMap::new(), documents: Vec::new() };
        let governed = |path: &str| path.starts_with("shared/domain/src/") || path.starts_with("shared/workflows/src/");
        for file in files().into_iter().filter(|f| governed(&f.path) && f.path.ends_with(".rs")) {
            let parsed = syn::parse_file(&file.text).unwrap_or_else(|e| panic!("{}: {e}", file.path));
            for item in parsed.items {
                types.take(&file.path, item);
            }
        }
        types
    }

    fn take(&mut self, file: &str, item: Item) {
        let name = match &item {
            Item::Struct(item) => item.ident.to_string(),
            Item::Enum(item) => item.ident.to_string(),
            Item::Impl(item) => {
                let of = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
                if of.is_some_and(|s| s.ident == "Document") {
                    self.documents.push(document_type(file, item));
                }
                return;
            }
            _ => return,
        };
        self.items.entry(name).or_default().push((file.to_owned(), item));
    }

    /// The type of this name that is nearest to the file: folders in common.
    fn find(&self, file: &str, name: &str) -> &(String, Item) {
        let near =
            |other: &str| file.split(['/', '.']).zip(other.split(['/', '.'])).take_while(|(a, b)| a == b).count();
        let found = self.items.get(name).and_then(|items| items.iter().max_by_key(|(path, _)| near(path)));
        found.unwrap_or_else(|| panic!("{file}: there is no type {name}"))
    }

    fn document(&self, of: &DocumentType) -> Schema {
        let mut definitions = BTreeMap::new();
        let mut value = self.item(&of.file, &of.name, &mut definitions);
        let DocumentType { kind, major, .. } = of;
        head(&mut value, &format!("{kind}:{major}"), &format!("lifeboat: {kind}"));
        value["properties"]["schema"] = json!({
            "description": "What this is, and its version. A reader refuses another kind and a higher major.",
            "pattern": format!("^lifeboat/{kind}/{major}\\.[0-9]+$"),
            "type": "string"
        });
        if let Some(required) = value["required"].as_array_mut() {
            required.push(json!("schema"));
        } else {
            value["required"] = json!(["schema"]);
        }
        definitions_into(&mut value, definitions);
        Schema { kind: kind.clone(), value }
    }

    fn item(&self, file: &str, name: &str, definitions: &mut BTreeMap<String, Value>) -> Value {
        let (file, item) = self.find(file, name);
        let mut value = match item {
            Item::Struct(item) => {
                let serde = Serde::of(&item.attrs);
                match &item.fields {
                    Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                        self.of_type(file, &fields.unnamed[0].ty, definitions)
                    }
                    fields => self.object(file, fields, &serde, None, definitions),
                }
            }
            Item::Enum(item) => self.choice(file, item, definitions),
            _ => panic!("{file}: {name} is neither a struct nor an enum"),
        };
        let attributes = match item {
            Item::Struct(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            _ => return value,
        };
        describe(&mut value, attributes);
        value
    }

    fn choice(&self, file: &str, item: &syn::ItemEnum, definitions: &mut BTreeMap<String, Value>) -> Value {
        let serde = Serde::of(&item.attrs);
        let named = |variant: &syn::Variant| serde.rename(&variant.ident.to_string(), &Serde::of(&variant.attrs));
        let untagged = |variant: &syn::Variant| serde.untagged || Serde::of(&variant.attrs).untagged;
        if item.variants.iter().all(|v| v.fields.is_empty()) && serde.tag.is_none() {
            let names: Vec<String> = item.variants.iter().map(named).collect();
            return json!({"type": "string", "enum": names});
        }
        let mut choices = Vec::new();
        for variant in &item.variants {
            let name = named(variant);
            let mut value = match (&serde.tag, &variant.fields) {
                _ if untagged(variant) => self.newtype(file, &variant.fields, definitions),
                (Some(tag), fields @ (Fields::Named(_) | Fields::Unit)) => {
                    self.object(file, fields, &Serde::default(), Some((tag, &name)), definitions)
                }
                (None, Fields::Unit) => json!({"const": name}),
                (None, fields @ Fields::Unnamed(_)) => {
                    let inner = self.newtype(file, fields, definitions);
                    json!({"type": "object", "properties": {&name: inner}, "required": [&name]})
                }
                (None, fields @ Fields::Named(_)) => {
                    let inner = self.object(file, fields, &Serde::default(), None, definitions);
                    json!({"type": "object", "properties": {&name: inner}, "required": [&name]})
                }
                (Some(_), Fields::Unnamed(_)) => panic!("{file}: {}::{name} is tagged and unnamed", item.ident),
            };
            describe(&mut value, &variant.attrs);
            choices.push(value);
        }
        if item.variants.iter().any(untagged) { json!({"anyOf": choices}) } else { json!({"oneOf": choices}) }
    }

    fn newtype(&self, file: &str, fields: &Fields, definitions: &mut BTreeMap<String, Value>) -> Value {
        let field = fields.iter().next().filter(|_| fields.len() == 1);
        self.of_type(file, &field.unwrap_or_else(|| panic!("{file}: a variant of several fields")).ty, definitions)
    }

    fn object(
        &self,
        file: &str,
        fields: &Fields,
        container: &Serde,
        tag: Option<(&str, &str)>,
        definitions: &mut BTreeMap<String, Value>,
    ) -> Value {
        let (mut properties, mut required) = (Map::new(), BTreeSet::new());
        if let Some((tag, name)) = tag {
            properties.insert(tag.to_owned(), json!({"const": name}));
            required.insert(tag.to_owned());
        }
        for field in fields {
            let serde = Serde::of(&field.attrs);
            assert!(!serde.flatten, "{file}: a flattened field");
            let ident = field.ident.as_ref().unwrap_or_else(|| panic!("{file}: a field without a name")).to_string();
            let name = container.rename(&ident, &serde);
            let mut value = self.of_type(file, &field.ty, definitions);
            describe(&mut value, &field.attrs);
            // Serde takes an absent Option for none.
            if !serde.default && !container.default && !is_option(&field.ty) {
                required.insert(name.clone());
            }
            properties.insert(name, value);
        }
        let mut value = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            value["required"] = json!(required);
        }
        value
    }

    fn of_type(&self, file: &str, of: &Type, definitions: &mut BTreeMap<String, Value>) -> Value {
        let Type::Path(path) = of else { panic!("{file}: a type that is no path") };
        let segment = path.path.segments.last().unwrap_or_else(|| panic!("{file}: an empty path"));
        let name = segment.ident.to_string();
        let arguments: Vec<&Type> = match &segment.arguments {
            PathArguments::AngleBracketed(list) => {
                let types =
                    list.args.iter().filter_map(|a| if let GenericArgument::Type(t) = a { Some(t) } else { None });
                types.collect()
            }
            PathArguments::None | PathArguments::Parenthesized(_) => Vec::new(),
        };
        let mut inner = |n: usize| self.of_type(file, arguments[n], definitions);
        match name.as_str() {
            "String" => json!({"type": "string"}),
            "bool" => json!({"type": "boolean"}),
            "u8" | "u16" | "u32" | "u64" | "usize" => json!({"type": "integer", "minimum": 0}),
            "i32" | "i64" => json!({"type": "integer"}),
            "f32" | "f64" => json!({"type": "number"}),
            "Value" => json!({}),
            "Timestamp" => json!({"type": "string", "format": "date-time"}),
            "BackupId" => json!({"type": "string", "pattern": "^[a-z0-9_-]{1,200}$"}),
            "InstanceId" => json!({"type": "string", "pattern": "^i-[0-9a-fA-F]{1,32}$"}),
            "JobId" => json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$"}),
            "Sha256Digest" => json!({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
            "Option" => json!({"anyOf": [inner(0), {"type": "null"}]}),
            "Box" => inner(0),
            "Vec" | "BTreeSet" | "VecDeque" => json!({"type": "array", "items": inner(0)}),
            "BTreeMap" => json!({"type": "object", "additionalProperties": inner(1)}),
            _ => {
                let (home, _) = self.find(file, &name);
                // Two types of one name (findings are of bytes, or of a restored node) get two definitions.
                let shared = self.items[&name].len() > 1;
                let module = home.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
                let key = if shared { format!("{name}-{module}") } else { name.clone() };
                if !definitions.contains_key(&key) {
                    definitions.insert(key.clone(), json!({}));
                    let value = self.item(file, &name, definitions);
                    definitions.insert(key.clone(), value);
                }
                json!({"$ref": format!("#/$defs/{key}")})
            }
        }
    }
}

fn document_type(file: &str, item: &syn::ItemImpl) -> DocumentType {
    let Type::Path(path) = &*item.self_ty else { panic!("{file}: Document of a type that is no path") };
    let name = path.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
    let mut document = DocumentType { file: file.to_owned(), name, kind: String::new(), major: 1 };
    for constant in &item.items {
        let syn::ImplItem::Const(constant) = constant else { continue };
        let Expr::Lit(literal) = &constant.expr else { panic!("{file}: a constant that is no literal") };
        match (constant.ident.to_string().as_str(), &literal.lit) {
            ("KIND", Lit::Str(kind)) => document.kind = kind.value(),
            ("MAJOR", Lit::Int(major)) => {
                document.major = major.base10_parse().unwrap_or_else(|e| panic!("{file}: {e}"))
            }
            _ => {}
        }
    }
    document
}

fn is_option(of: &Type) -> bool {
    matches!(of, Type::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == "Option"))
}

/// The first paragraph of the documentation, without links.
fn describe(value: &mut Value, attributes: &[Attribute]) {
    let lines = attributes.iter().filter(|a| a.path().is_ident("doc")).filter_map(|a| match &a.meta {
        syn::Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let text = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let text = text.replace("[`", "`").replace("`]", "`");
    if !text.is_empty() {
        value["description"] = json!(text);
    }
}

#[derive(Default)]
struct Serde {
    rename_all: Option<String>,
    renamed: Option<String>,
    tag: Option<String>,
    default: bool,
    untagged: bool,
    flatten: bool,
}

impl Serde {
    fn of(attributes: &[Attribute]) -> Self {
        let mut serde = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("serde")) {
            let parsed = attribute.parse_nested_meta(|meta| {
                let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                let text = match meta.value() {
                    Ok(value) => value.parse::<syn::LitStr>()?.value(),
                    Err(_) => String::new(),
                };
                match name.as_str() {
                    "rename_all" => serde.rename_all = Some(text),
                    "rename" => serde.renamed = Some(text),
                    "tag" => serde.tag = Some(text),
                    "default" => serde.default = true,
                    "untagged" => serde.untagged = true,
                    "flatten" => serde.flatten = true,
                    "transparent" | "skip_serializing_if" | "deserialize_with" => {}
                    other => panic!("the schemas do not know serde({other})"),
                }
                Ok(())
            });
            parsed.unwrap_or_else(|e| panic!("a serde attribute: {e}"));
        }
        serde
    }

    fn rename(&self, ident: &str, own: &Self) -> String {
        if let Some(name) = &own.renamed {
            return name.clone();
        }
        let words = |separator: &str| {
            let mut out = String::new();
            for (n, c) in ident.chars().enumerate() {
                if c.is_uppercase() && n > 0 {
                    out.push_str(separator);
                }
                out.extend(c.to_lowercase());
            }
            out
        };
        match self.rename_all.as_deref() {
            None => ident.to_owned(),
            Some("snake_case") => words("_"),
            Some("SCREAMING_SNAKE_CASE") => words("_").to_uppercase(),
            Some("kebab-case") => words("-"),
            Some("lowercase") => ident.to_lowercase(),
            Some(other) => panic!("the schemas do not know rename_all = {other}"),
        }
    }
}
