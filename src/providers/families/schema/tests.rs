use serde_json::{Value, json};

use super::{tighten, tool_schema};

fn tightened(mut schema: Value) -> Value {
    tighten(&mut schema);
    schema
}

#[test]
fn objects_are_closed_and_bounds_become_words() {
    let alternatives =
        json!({"type": "object", "anyOf": [{"type": "object", "properties": {}, "additionalProperties": false}]});
    assert_eq!(tightened(alternatives.clone()), alternatives);
    assert_eq!(
        tightened(
            json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}, "minimum": {"type": "string"},
            "l": {"type": "array", "minItems": 1, "items": {"oneOf": [{"type": "object", "properties": {}}]}}}})
        ),
        json!({"type": "object", "additionalProperties": false, "properties": {"n": {"type": "integer", "description": "{minimum: 1}"}, "minimum": {"type": "string"},
        "l": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "object", "properties": {}, "additionalProperties": false}]}}}})
    );
    assert_eq!(
        tightened(json!({"type": ["object", "null"], "additionalProperties": {"type": "integer"}, "description": "d"})),
        json!({"type": ["object", "null"], "additionalProperties": false, "description": "d\n\n{additionalProperties: {\"type\":\"integer\"}}"})
    );
}

#[test]
fn patterns_and_formats_stay_if_they_are_taken() {
    let string = |name: &str, value: &str| json!({"type": "string", name: value});
    let words =
        |name: &str, value: &str| json!({"type": "string", "description": format!("{{{name}: {}}}", json!(value))});
    for (name, value) in [
        ("pattern", "^[a-z]{2,4}$"),
        ("pattern", "(?:a|b)+"),
        ("pattern", "\\d+"),
        ("pattern", "a\\\\b"),
        ("format", "uuid"),
    ] {
        assert_eq!(tightened(string(name, value)), string(name, value), "{value}");
    }
    for (name, value) in [
        ("pattern", "^(?!x)a$"),
        ("pattern", "(?<=a)b"),
        ("pattern", "(a)\\1"),
        ("pattern", "\\bword\\b"),
        ("format", "binary"),
        ("format", "color"),
    ] {
        assert_eq!(tightened(string(name, value)), words(name, value), "{value}");
    }
}

#[test]
fn what_is_not_known_to_be_taken_becomes_words() {
    assert_eq!(
        tightened(json!({"$schema": "s", "type": "array", "prefixItems": [{"type": "string"}], "uniqueItems": true})),
        json!({"type": "array", "description": "{prefixItems: [{\"type\":\"string\"}], uniqueItems: true}"})
    );
    assert_eq!(
        tightened(json!({"enum": [{"a": 1}], "default": 1})),
        json!({"default": 1, "description": "{enum: [{\"a\":1}]}"})
    );
    assert_eq!(
        tightened(json!({"$ref": "#/$defs/A", "title": "t", "$defs": {"A": {"type": "object", "maxProperties": 1}}})),
        json!({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "description": "{maxProperties: 1}", "additionalProperties": false}}})
    );
}

#[test]
fn a_tool_takes_an_object() {
    assert_eq!(tool_schema(r#"{"properties":{}}"#, true), r#"{"type":"object","properties":{}}"#);
    assert_eq!(tool_schema(r#"{"type":["object","null"],"a":1}"#, true), r#"{"type":"object","a":1}"#);
    assert_eq!(tool_schema(r#"{"type": "object"}"#, true), r#"{"type": "object"}"#);
    for nothing in ["null", "{}"] {
        assert_eq!(tool_schema(nothing, true), r#"{"type":"object","properties":{}}"#);
    }
    let combined = r##"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"anyOf":[{"required":["b"],"properties":{"b":{"type":"integer"}}},{"$ref":"#/$defs/C"}],"$defs":{"C":{"properties":{"b":{"type":"string"},"c":{}},"required":["b","c"]}}}"##;
    assert_eq!(tool_schema(combined, false), combined);
    let flat: Value = serde_json::from_str(&tool_schema(combined, true)).unwrap();
    assert_eq!(
        (&flat["type"], &flat["properties"], &flat["required"], flat.get("anyOf")),
        (
            &json!("object"),
            &json!({"a": {"type": "string"}, "b": {"type": "integer"}, "c": {}}),
            &json!(["a", "b"]),
            None
        )
    );
    assert!(flat["description"].as_str().unwrap().contains("anyOf: ["));
    assert!(flat["$defs"].is_object());
}
