//! How a text is cut into words, by the tokenization of its property. Seen of a real 1.38.11: filters and keyword search cut
//! alike, and stop words count for nothing where the tokenization is `word`.

use serde_json::Value;

/// The server's own list (preset `en`); a class that configures another is not played.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// Ends every word of [`Tokenization::append`]: no text holds it.
pub(crate) const END: char = '\0';

/// The tokenization of a text property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tokenization {
    /// Runs of letters and digits, in lower case.
    Word,
    /// Between blanks, in lower case.
    Lowercase,
    /// Between blanks.
    Whitespace,
    /// The whole text, without blanks at its ends.
    Field,
}

impl Tokenization {
    /// That of a property of the schema; `word` where it says nothing.
    pub(crate) fn of(property: &Value) -> Self {
        match property["tokenization"].as_str() {
            Some("lowercase") => Self::Lowercase,
            Some("whitespace") => Self::Whitespace,
            Some("field") => Self::Field,
            _ => Self::Word,
        }
    }

    /// Appends the words of the text, each with [`END`] behind it.
    pub(crate) fn append(self, text: &str, out: &mut String) {
        match self {
            Self::Word => {
                let before = out.len();
                for c in text.chars() {
                    if c.is_alphanumeric() {
                        out.extend(c.to_lowercase());
                    } else if out.len() > before && !out.ends_with(END) {
                        out.push(END);
                    }
                }
                if out.len() > before && !out.ends_with(END) {
                    out.push(END);
                }
            }
            Self::Lowercase | Self::Whitespace => {
                for word in text.split_whitespace() {
                    if self == Self::Whitespace {
                        out.push_str(word);
                    } else {
                        out.extend(word.chars().flat_map(char::to_lowercase));
                    }
                    out.push(END);
                }
            }
            Self::Field => {
                out.push_str(text.trim());
                out.push(END);
            }
        }
    }

    /// The words that a query looks for: those of the text, stop words left out.
    pub(crate) fn wanted(self, text: &str) -> Vec<String> {
        let mut words = String::new();
        self.append(text, &mut words);
        words
            .split(END)
            .filter(|word| !word.is_empty())
            .filter(|word| self != Self::Word || !STOP_WORDS.contains(word))
            .map(str::to_owned)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tokenization_cuts_as_the_server_does() {
        let text = " Foo-bar The baz ";
        for (tokenization, words) in [
            (Tokenization::Word, vec!["foo", "bar", "baz"]),
            (Tokenization::Lowercase, vec!["foo-bar", "the", "baz"]),
            (Tokenization::Whitespace, vec!["Foo-bar", "The", "baz"]),
            (Tokenization::Field, vec!["Foo-bar The baz"]),
        ] {
            assert_eq!(tokenization.wanted(text), words, "{tokenization:?}");
        }
        assert!(Tokenization::Word.wanted("the, of!").is_empty());
    }
}
