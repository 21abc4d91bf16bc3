use serde_json::{Value, json};

use super::Validator;

fn messages(schema: Value, value: &Value) -> Vec<String> {
    Validator::new(schema).unwrap().violations(value).iter().map(ToString::to_string).collect()
}

#[test]
fn violations_say_where_and_why() {
    let schema = json!({
        "type": "object",
        "properties": {
            "title": {"type": "string", "minLength": 2, "pattern": "^[A-Z]"},
            "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "maxItems": 1},
            "kind": {"enum": ["a", "b"]},
        },
        "required": ["title", "when"],
        "additionalProperties": false,
        "$defs": {"Item": {"type": "object", "properties": {"price": {"type": "number", "minimum": 0}}}},
    });
    let value = json!({"title": "x", "items": [{"price": -1}, {"price": "1"}], "kind": "c", "more": 1});
    assert_eq!(
        messages(schema, &value),
        [
            "lacks \"when\"",
            "title: has 1 characters, and has to have at least 2",
            "title: is \"x\", and has to match the pattern ^[A-Z]",
            "items: has 2 items, and has to have at most 1",
            "items[0].price: is -1, and has to be at least 0",
            "items[1].price: is \"1\", and has to be of type number",
            "kind: is \"c\", and has to be one of [\"a\",\"b\"]",
            "has \"more\", which is not allowed",
        ]
    );
}

#[test]
fn of_alternatives_the_one_of_the_value_is_reported() {
    let schema = json!({"anyOf": [{"type": "object", "required": ["a"]}, {"type": "null"}]});
    assert_eq!(messages(schema.clone(), &json!({})), ["lacks \"a\""]);
    assert_eq!(messages(schema, &json!(1)), ["is 1, and fits none of the alternatives"]);
    let either = json!({"oneOf": [{"minimum": 1}, {"maximum": 3}]});
    assert_eq!(messages(either.clone(), &json!(2)), ["fits 2 alternatives, and has to fit one"]);
    assert_eq!(messages(either, &json!(4)), [""; 0]);
}

#[test]
fn references_that_lead_to_themselves_end() {
    let list = Validator::new(
        json!({"$defs": {"N": {"properties": {"next": {"$ref": "#/$defs/N"}, "v": {"type": "integer"}}}}, "$ref": "#/$defs/N"}),
    );
    let list = list.unwrap();
    assert!(list.is_valid(&json!({"v": 1, "next": {"v": 2.0}})));
    assert_eq!(list.violations(&json!({"next": {"next": {"v": 0.5}}}))[0].path, "next.next.v");
    assert!(!Validator::new(json!({"$ref": "#"})).unwrap().is_valid(&json!(1)));
    assert_eq!(Validator::new(json!({"items": {"$ref": "#/$defs/X"}})).unwrap_err(), "#/$defs/X");
}

#[test]
fn what_cannot_be_asserted_is_not() {
    assert_eq!(messages(json!({"pattern": "^(?!x)", "format": "email"}), &json!("x")), [""; 0]);
    assert_eq!(messages(json!({"enum": [1], "default": {"$ref": "#/nowhere"}}), &json!(1.0)), [""; 0]);
}
