//! Texts and messages in which `{column}` stands for a column's value.
//!
//! Only the name of a column that exists makes a field of braces; all others stay as they are, and there is no way to write
//! that is not needed: `{"label": "{text}"}` has one field, and `{{text}}` is the column's value in braces. A value that is
//! no string is inserted as JSON, and null as nothing. A row that lacks the column altogether has an error.

use strsim::damerau_levenshtein;

use super::media;
use crate::error::{Error, Result};
use crate::types::members::Members;

/// JSON with fields.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    /// JSON text, or a part of it.
    Json(String),
    /// A column's value inside a string.
    Text(String),
    /// A column's value as it is, which is a list. The flag is true if it may also be a text.
    Value { column: String, or_text: bool },
    /// A whole string that is an image or a file.
    Media { text: Pieces, form: media::Form },
}

/// Part of a text.
enum Part<'a> {
    Literal(&'a str),
    Field(&'a str),
}

impl Pieces {
    /// Compiles a text.
    ///
    /// # Errors
    ///
    /// It names a column that is not there.
    pub fn of_text(argument: &str, text: &str, columns: &[String]) -> Result<Self> {
        let mut pieces = Self::default();
        pieces.push_string(text, columns);
        check_names(argument, &[text], &pieces, columns)?;
        Ok(pieces)
    }

    /// Compiles a text; a column alone may hold a list.
    ///
    /// # Errors
    ///
    /// It names a column that is not there.
    pub fn of_input(argument: &str, text: &str, columns: &[String]) -> Result<Self> {
        match only_field(text, columns) {
            Some(column) => Ok(Self(vec![Piece::Value { column: column.to_owned(), or_text: true }])),
            None => Self::of_text(argument, text, columns),
        }
    }

    /// Compiles messages: a JSON list, or one field.
    ///
    /// # Errors
    ///
    /// It is no such JSON, names a column that is not there, or a file that cannot be read.
    pub fn of_messages(argument: &str, json: &str, columns: &[String]) -> Result<Self> {
        // As it is, or as a JSON string.
        let text = serde_json::from_str::<String>(json);
        let text = text.as_deref().unwrap_or(json);
        if let Some(column) = only_field(text, columns) {
            return Ok(Self(vec![Piece::Value { column: column.to_owned(), or_text: false }]));
        }
        let value: serde_json::Value = serde_json::from_str(json).map_err(|_| {
            Error::argument(format!(
                "{argument} is {text:?}: a list of messages, or a column that holds one, would be right. {}",
                there_are(columns)
            ))
        })?;
        let mut pieces = Self::default();
        match &value {
            serde_json::Value::Array(items) if !items.is_empty() && items.iter().all(serde_json::Value::is_object) => {
                pieces.push_value(&value, columns).map_err(|what| Error::argument(format!("{argument} {what}")))?;
                let mut texts = Vec::new();
                strings(&value, &mut texts);
                check_names(argument, &texts, &pieces, columns)?;
            }
            _ => return Err(Error::argument(format!("{argument} is {value}: a list of messages would be right"))),
        }
        Ok(pieces)
    }

    /// Returns these pieces between two texts.
    pub fn within(self, before: &str, after: &str) -> Self {
        let mut pieces = Self(vec![Piece::Json(before.to_owned())]);
        for piece in self.0 {
            match piece {
                Piece::Json(json) => pieces.push_json(&json),
                other => pieces.0.push(other),
            }
        }
        pieces.push_json(after);
        pieces
    }

    /// Returns the columns that are read, each once.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        for piece in &self.0 {
            let of_piece = match piece {
                Piece::Json(_) => vec![],
                Piece::Text(column) | Piece::Value { column, .. } => vec![&column[..]],
                Piece::Media { text, .. } => text.columns(),
            };
            of_piece.into_iter().for_each(|column| {
                if !columns.contains(&column) {
                    columns.push(column);
                }
            });
        }
        columns
    }

    /// Appends the JSON for a row. What is wrong with the row goes on after its place.
    pub fn write(&self, row: &Members<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        for piece in &self.0 {
            match piece {
                Piece::Json(json) => out.extend_from_slice(json.as_bytes()),
                Piece::Text(column) => push_text(value(row, column)?, out),
                Piece::Value { column, or_text } => push_list(column, value(row, column)?, *or_text, out)?,
                Piece::Media { text, form } => {
                    let mut json = Vec::new();
                    text.write(row, &mut json)?;
                    let text: String = serde_json::from_slice(&json)
                        .map_err(|error| format!("has a path that is no text: {error}"))?;
                    form.write(&text, out)?;
                }
            }
        }
        Ok(())
    }

    fn push_json(&mut self, json: &str) {
        match self.0.last_mut() {
            Some(Piece::Json(last)) => last.push_str(json),
            _ => self.0.push(Piece::Json(json.to_owned())),
        }
    }

    fn push_string(&mut self, text: &str, columns: &[String]) {
        self.push_json("\"");
        for part in parts(text, columns) {
            match part {
                Part::Literal(text) => {
                    let json = serde_json::to_string(text).expect("a string is JSON");
                    self.push_json(&json[1..json.len() - 1]);
                }
                Part::Field(column) => self.0.push(Piece::Text(column.to_owned())),
            }
        }
        self.push_json("\"");
    }

    fn push_value(&mut self, value: &serde_json::Value, columns: &[String]) -> Result<(), String> {
        match value {
            serde_json::Value::String(text) => self.push_string(text, columns),
            serde_json::Value::Array(items) => {
                self.push_json("[");
                for (index, item) in items.iter().enumerate() {
                    self.push_json(if index > 0 { "," } else { "" });
                    self.push_value(item, columns)?;
                }
                self.push_json("]");
            }
            serde_json::Value::Object(members) => {
                self.push_json("{");
                for (index, (name, value)) in members.iter().enumerate() {
                    self.push_json(if index > 0 { "," } else { "" });
                    self.push_json(&serde_json::to_string(name).expect("a string is JSON"));
                    self.push_json(":");
                    match (media::Form::of(name, members), value) {
                        (Some(form), serde_json::Value::String(text)) => {
                            self.push_media(text, form, columns)?;
                            // OpenAI takes no data of a file without a name.
                            if name == "file_data" && !members.contains_key("filename") {
                                self.push_json(",\"filename\":");
                                self.push_media(text, media::Form::Name, columns)?;
                            }
                        }
                        _ => self.push_value(value, columns)?,
                    }
                }
                self.push_json("}");
            }
            other => self.push_json(&other.to_string()),
        }
        Ok(())
    }

    fn push_media(&mut self, text: &str, form: media::Form, columns: &[String]) -> Result<(), String> {
        let mut pieces = Self::default();
        pieces.push_string(text, columns);
        if pieces.columns().is_empty() {
            let mut json = Vec::new();
            form.write(text, &mut json)?;
            self.push_json(std::str::from_utf8(&json).expect("it is JSON"));
        } else {
            self.0.push(Piece::Media { text: pieces, form });
        }
        Ok(())
    }
}

fn value<'a>(row: &Members<'a>, column: &str) -> Result<&'a str, String> {
    row.get(column).ok_or_else(|| {
        let columns: Vec<String> = row.0.iter().map(|(name, _)| name.to_string()).collect();
        format!("has no column {column:?}: {}", there_are(&columns))
    })
}

/// Appends a value inside a string.
fn push_text(value: &str, out: &mut Vec<u8>) {
    match value.as_bytes()[0] {
        // The same characters in the same escapes.
        b'"' => out.extend_from_slice(&value.as_bytes()[1..value.len() - 1]),
        b'n' => {}
        b'{' | b'[' => {
            let json = serde_json::to_string(value).expect("a string is JSON");
            out.extend_from_slice(&json.as_bytes()[1..json.len() - 1]);
        }
        _ => out.extend_from_slice(value.as_bytes()),
    }
}

/// Appends a value that is a list, or the text of one.
fn push_list(column: &str, value: &str, or_text: bool, out: &mut Vec<u8>) -> Result<(), String> {
    if value.starts_with('[') {
        out.extend_from_slice(value.as_bytes());
        return Ok(());
    }
    if or_text {
        out.push(b'"');
        push_text(value, out);
        out.push(b'"');
        return Ok(());
    }
    // In CSV, and in some Parquet files, it is a text.
    if let Ok(text) = serde_json::from_str::<String>(value)
        && let Ok(list) = serde_json::from_str::<&serde_json::value::RawValue>(&text)
        && list.get().starts_with('[')
    {
        out.extend_from_slice(list.get().as_bytes());
        return Ok(());
    }
    Err(format!("has no list of messages in the column {column:?}"))
}

/// Splits a text at the fields.
fn parts<'a>(text: &'a str, columns: &[String]) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(open) = text[at..].find('{').map(|open| at + open) {
        at = open + 1;
        let Some(name) = text[at..].find(['{', '}']).filter(|end| text[at + end..].starts_with('}')) else { continue };
        let name = &text[at..at + name];
        if columns.iter().any(|column| column == name) {
            if start < open {
                parts.push(Part::Literal(&text[start..open]));
            }
            parts.push(Part::Field(name));
            at += name.len() + 1;
            start = at;
        }
    }
    if start < text.len() {
        parts.push(Part::Literal(&text[start..]));
    }
    parts
}

fn only_field<'a>(text: &'a str, columns: &[String]) -> Option<&'a str> {
    match parts(text.trim(), columns)[..] {
        [Part::Field(column)] => Some(column),
        _ => None,
    }
}

/// Checks the names in braces that are no columns: a name like one of a column is a slip, and so is every name if not one
/// is a column. A job with a slip would ask for two million answers to the same text.
fn check_names(argument: &str, texts: &[&str], pieces: &Pieces, columns: &[String]) -> Result<()> {
    let names = texts.iter().flat_map(|text| names(text)).filter(|name| !columns.iter().any(|column| column == name));
    let has_fields = !pieces.columns().is_empty();
    for name in names {
        let like = columns.iter().find(|column| is_like(name, column));
        if !has_fields || like.is_some() {
            let like = like.map(|column| format!(" Is {column:?} meant?")).unwrap_or_default();
            return Err(Error::argument(format!("{argument} names the column {name:?}: {}{like}", there_are(columns))));
        }
    }
    Ok(())
}

/// Returns the words in braces that may be meant as columns.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    let of_brace = |rest: &'_ str| -> Option<usize> {
        let end = rest.find('}')?;
        let mut characters = rest[..end].chars();
        let is_word = characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && characters.all(|character| character.is_alphanumeric() || matches!(character, '_' | '-' | '.'));
        is_word.then_some(end)
    };
    text.match_indices('{').filter_map(move |(at, _)| {
        let rest = &text[at + 1..];
        of_brace(rest).map(|end| &rest[..end])
    })
}

fn is_like(name: &str, column: &str) -> bool {
    let (name, column) = (name.to_lowercase(), column.to_lowercase());
    let most = if column.chars().count() < 4 { 0 } else { 1 };
    damerau_levenshtein(&name, &column) <= most
}

fn strings<'a>(value: &'a serde_json::Value, texts: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::String(text) => texts.push(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings(item, texts)),
        serde_json::Value::Object(members) => members.values().for_each(|value| strings(value, texts)),
        _ => {}
    }
}

/// Returns a sentence that lists the columns.
pub(super) fn there_are(columns: &[String]) -> String {
    match columns {
        [] => "the rows have no columns.".to_owned(),
        [one] => format!("the rows have the column {one:?}."),
        many => {
            let shown = many.iter().take(30).map(|column| format!("{column:?}")).collect::<Vec<_>>().join(", ");
            let more = if many.len() > 30 { format!(" and {} more", many.len() - 30) } else { String::new() };
            format!("the rows have the columns {shown}{more}.")
        }
    }
}
