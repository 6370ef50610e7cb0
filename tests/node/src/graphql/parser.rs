//! A small GraphQL reader: nested fields with arguments. No fragments, directives or aliases.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A field with its arguments and what is selected below it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) arguments: BTreeMap<String, Value>,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(String),
    Variable(String),
    Mark(char),
}

/// Reads a query; variables are replaced by their values.
pub(crate) fn parse(query: &str, variables: &Map<String, Value>) -> Result<Vec<Field>, String> {
    let tokens = tokens(query)?;
    let mut reader = Reader { tokens: &tokens, at: 0, variables };
    if reader.peek() == Some(&Token::Name("query".to_owned())) {
        reader.at += 1;
        while reader.peek().is_some_and(|token| *token != Token::Mark('{')) {
            reader.at += 1;
        }
    }
    let fields = reader.selection()?;
    if reader.at < tokens.len() {
        return Err("Syntax Error GraphQL: Unexpected content after the query".to_owned());
    }
    Ok(fields)
}

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let letters: Vec<char> = query.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let letter = letters[at];
        let run = |from: usize, test: &dyn Fn(char) -> bool| {
            letters[from..].iter().take_while(|letter| test(**letter)).collect::<String>()
        };
        if letter.is_whitespace() || letter == ',' {
            at += 1;
        } else if letter == '#' {
            at += run(at, &|c| c != '\n').chars().count();
        } else if letter == '"' {
            let end = letters[at + 1..]
                .iter()
                .scan(false, |escaped, letter| {
                    let closes = *letter == '"' && !*escaped;
                    *escaped = *letter == '\\' && !*escaped;
                    Some(closes)
                })
                .position(|closes| closes)
                .ok_or("Syntax Error GraphQL: Unterminated string")?;
            let quoted: String = letters[at..=at + 1 + end].iter().collect();
            tokens.push(Token::Text(serde_json::from_str(&quoted).map_err(|e| format!("Syntax Error GraphQL: {e}"))?));
            at += end + 2;
        } else if letter == '_' || letter.is_alphabetic() {
            let name = run(at, &|c| c == '_' || c.is_alphanumeric());
            at += name.chars().count();
            tokens.push(Token::Name(name));
        } else if letter == '$' {
            let name = run(at + 1, &|c| c == '_' || c.is_alphanumeric());
            at += name.chars().count() + 1;
            tokens.push(Token::Variable(name));
        } else if letter == '-' || letter.is_ascii_digit() {
            let number = run(at, &|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'));
            at += number.len();
            tokens.push(Token::Number(number));
        } else if "{}()[]:!=".contains(letter) {
            tokens.push(Token::Mark(letter));
            at += 1;
        } else {
            return Err(format!("Syntax Error GraphQL: Unexpected character {letter:?}"));
        }
    }
    Ok(tokens)
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    variables: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: char) -> Result<(), String> {
        if self.take(mark) {
            return Ok(());
        }
        Err(format!("Syntax Error GraphQL: Expected {mark}, found {:?}", self.peek()))
    }

    fn name(&mut self) -> Result<String, String> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            other => Err(format!("Syntax Error GraphQL: Expected Name, found {other:?}")),
        }
    }

    fn selection(&mut self) -> Result<Vec<Field>, String> {
        self.expect('{')?;
        let mut fields = Vec::new();
        while !self.take('}') {
            let name = self.name()?;
            let mut arguments = BTreeMap::new();
            if self.take('(') {
                while !self.take(')') {
                    let argument = self.name()?;
                    self.expect(':')?;
                    arguments.insert(argument, self.value()?);
                }
            }
            let below = if self.peek() == Some(&Token::Mark('{')) { self.selection()? } else { Vec::new() };
            fields.push(Field { name, arguments, fields: below });
        }
        Ok(fields)
    }

    fn value(&mut self) -> Result<Value, String> {
        let token = self.peek().cloned().ok_or("Syntax Error GraphQL: Unexpected EOF")?;
        self.at += 1;
        match token {
            Token::Text(text) => Ok(Value::String(text)),
            Token::Number(number) => {
                serde_json::from_str(&number).map_err(|error| format!("Syntax Error GraphQL: {number}: {error}"))
            }
            Token::Variable(name) => Ok(self.variables.get(&name).cloned().unwrap_or(Value::Null)),
            Token::Name(name) => Ok(match name.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                _ => Value::String(name),
            }),
            Token::Mark('[') => {
                let mut items = Vec::new();
                while !self.take(']') {
                    items.push(self.value()?);
                }
                Ok(Value::Array(items))
            }
            Token::Mark('{') => {
                let mut map = Map::new();
                while !self.take('}') {
                    let name = self.name()?;
                    self.expect(':')?;
                    map.insert(name, self.value()?);
                }
                Ok(Value::Object(map))
            }
            Token::Mark(other) => Err(format!("Syntax Error GraphQL: Unexpected {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_fields_and_arguments_are_read() {
        let fields = parse(
            r#"{ Get { Article(tenant:"t", limit: 3, where:{path:["n"], operator: Equal, valueInt: -5}) { title _additional { id } } } }"#,
            &Map::new(),
        )
        .unwrap();
        let article = &fields[0].fields[0];
        assert_eq!(article.arguments["where"], json!({"path": ["n"], "operator": "Equal", "valueInt": -5}));
        assert_eq!(article.fields[1].fields[0].name, "id");
    }

    #[test]
    fn broken_queries_are_errors() {
        for broken in ["", "{", "{a(b:)}", "{a", "{a} b", "\"", "{a(b:\"\\q\")}"] {
            assert!(parse(broken, &Map::new()).is_err(), "{broken}");
        }
    }
}
