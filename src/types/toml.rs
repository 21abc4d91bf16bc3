//! TOML as JSON: CPython 3.10 has no reader of TOML.

use serde_json::{Map, Number, Value};

/// Reads a TOML document (<https://toml.io/en/v1.0.0>). Dates and times become strings.
///
/// # Errors
///
/// Says where the text is no TOML, or that a number has no place in JSON.
pub fn to_json(text: &str) -> Result<Value, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        format!("line {line}: {}", error.message())
    })?;
    object(table)
}

fn object(table: toml::Table) -> Result<Value, String> {
    let members = table.into_iter().map(|(name, value)| Ok((name, json(value)?)));
    members.collect::<Result<Map<_, _>, String>>().map(Value::Object)
}

fn json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => {
            Value::Number(Number::from_f64(number).ok_or_else(|| format!("{number} is no finite number"))?)
        }
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => object(table)?,
    })
}

#[cfg(test)]
mod tests {
    use super::to_json;

    #[test]
    fn documents_and_their_errors() {
        let text = "b = 1\na = [1.5, \"x\"]\nd = 2026-01-02T03:04:05Z\n[t.u]\nv = true\n[[g]]\nn = 1\n[[g]]\nn = 2\n";
        let json = to_json(text).unwrap();
        assert_eq!(
            json.to_string(),
            r#"{"b":1,"a":[1.5,"x"],"d":"2026-01-02T03:04:05Z","t":{"u":{"v":true}},"g":[{"n":1},{"n":2}]}"#
        );
        assert!(to_json("a = 1\nb =\n").unwrap_err().starts_with("line 2: "));
        assert!(to_json("a = 1\na = 2\n").unwrap_err().contains("duplicate key"));
        assert_eq!(to_json("a = inf").unwrap_err(), "inf is no finite number");
    }
}
