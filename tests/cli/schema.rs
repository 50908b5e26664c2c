//! A validator for as much of JSON Schema as `docs/cli.schema.json` uses: `$ref`, `type`, `enum`, `properties`, `required`,
//! `additionalProperties: false`, `items`, `oneOf`. An unknown keyword is an error, so that nothing is passed over.

use serde_json::{Value, json};

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.schema.json");
    let text = std::fs::read_to_string(path).expect("the schema");
    serde_json::from_str(&text).expect("JSON")
}

/// Panics unless the value has this definition of the schema.
pub fn check(definition: &str, value: &Value) {
    let schema = schema();
    let definition = json!({ "$ref": format!("#/$defs/{definition}") });
    let problems = problems(&schema, &definition, value, "value");
    assert!(problems.is_empty(), "{problems:?}\n{value:#}");
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("the name of a type") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other:?}"),
    }
}

/// Returns where and how a value breaks a rule.
fn problems(schema: &Value, rule: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, argument) in rule.as_object().expect("a rule") {
        match keyword.as_str() {
            "description" | "minimum" => {}
            "$ref" => {
                let pointer = argument
                    .as_str()
                    .expect("a pointer")
                    .trim_start_matches('#');
                let rule = schema
                    .pointer(pointer)
                    .unwrap_or_else(|| panic!("no {pointer}"));
                found.extend(problems(schema, rule, value, at));
            }
            "type" => {
                let types = argument
                    .as_array()
                    .cloned()
                    .unwrap_or(vec![argument.clone()]);
                if !types.iter().any(|name| is_of_type(name, value)) {
                    found.push(format!("{at} is not of type {argument}"));
                }
            }
            "enum" => {
                if !argument.as_array().expect("values").contains(value) {
                    found.push(format!("{at} is none of {argument}"));
                }
            }
            "oneOf" => {
                let rules = argument.as_array().expect("rules");
                let tried = rules.iter().map(|rule| problems(schema, rule, value, at));
                let tried: Vec<_> = tried.collect();
                if tried.iter().filter(|problems| problems.is_empty()).count() != 1 {
                    found.push(format!("{at} is not one of these: {tried:?}"));
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(problems(schema, argument, item, &format!("{at}[{number}]")));
                }
            }
            "required" => {
                for name in argument.as_array().expect("names") {
                    let name = name.as_str().expect("a name");
                    if value.is_object() && value.get(name).is_none() {
                        found.push(format!("{at} has no {name}"));
                    }
                }
            }
            "properties" => {
                for (name, part) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = argument.get(name) {
                        found.extend(problems(schema, rule, part, &format!("{at}.{name}")));
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(argument, &json!(false));
                let known = rule
                    .get("properties")
                    .and_then(Value::as_object)
                    .expect("properties");
                for name in value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name)
                {
                    if !known.contains_key(name) {
                        found.push(format!("{at} has {name}"));
                    }
                }
            }
            other => panic!("the keyword {other:?}"),
        }
    }
    found
}

#[test]
fn the_validator_finds_what_is_wrong() {
    let schema = json!({});
    let rule = json!({
        "type": "object",
        "properties": { "a": { "type": ["integer", "null"] }, "b": { "enum": ["x", "y"] } },
        "required": ["a"],
        "additionalProperties": false,
    });
    for (value, wrong) in [
        (json!({ "a": 1, "b": "x" }), 0),
        (json!({ "a": null }), 0),
        (json!({ "a": 1.5 }), 1),
        (json!({ "b": "z" }), 2),
        (json!({ "a": 1, "c": 2 }), 1),
        (json!([]), 1),
    ] {
        assert_eq!(
            problems(&schema, &rule, &value, "v").len(),
            wrong,
            "{value}"
        );
    }
}
