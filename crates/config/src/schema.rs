//! The JSON Schema of the file, for editors and other checkers, made from the description of the keys. It knows
//! the form of every value, and nothing of what only the whole file shows, such as whether a pool exists.

use serde_json::{Map, Value, json};

use crate::decode::SERVERS_MAX;
use crate::key::{Absent, Block, Key, Shape};
use crate::keys::{ROOT, SERVER};
use crate::value::NAME_MAX;

/// The JSON Schema (draft 2020-12) of the configuration file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = Map::new();
    schema.insert(
        "$schema".into(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.insert("title".into(), json!("The configuration of Ringgate"));
    schema.extend(block(&ROOT));
    Value::Object(schema)
}

fn block(block: &Block) -> Map<String, Value> {
    let properties: Map<String, Value> = block
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<&str> = block
        .keys
        .iter()
        .filter(|key| matches!(key.absent, Absent::Mistake))
        .map(|key| key.name)
        .collect();
    let mut schema = Map::new();
    schema.insert("type".into(), json!("object"));
    schema.insert("description".into(), json!(block.doc));
    schema.insert("properties".into(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    schema.insert("additionalProperties".into(), json!(false));
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = shape(&key.shape);
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".into(), json!(key.doc));
        if let Absent::Value(text) = key.absent {
            let default = text
                .parse::<u32>()
                .map_or_else(|_| json!(text), |number| json!(number));
            schema.insert("default".into(), default);
        }
        if matches!(key.absent, Absent::Defaults) && schema.get("type") == Some(&json!("object")) {
            schema.insert("type".into(), json!(["object", "null"]));
        }
    }
    schema
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Duration { .. } => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" }),
        Shape::Integer { least, most } => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Shape::AutoOrInteger { least, most } => {
            json!({ "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": least, "maximum": most }] })
        }
        Shape::Word { words, .. } => {
            let words: Vec<Value> = words
                .iter()
                .map(|word| json!({ "const": word.text, "description": word.doc.trim() }))
                .collect();
            json!({ "oneOf": words })
        }
        Shape::Rate { .. } => json!({ "type": "string", "pattern": "^[0-9]+/[0-9]*(ms|s|m|h)$" }),
        Shape::Bandwidth { .. } => {
            json!({ "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)/s$" })
        }
        Shape::Networks => {
            let one = json!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$" });
            json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
        }
        Shape::SocketPath => json!({ "type": "string", "pattern": "^/" }),
        Shape::AccessLog => {
            json!({ "anyOf": [{ "enum": ["stdout", "off"] }, { "type": "string", "pattern": "^/" }] })
        }
        Shape::HttpDoor => {
            json!({ "anyOf": [{ "const": "off" }, { "type": "string", "pattern": ":[0-9]+$" }] })
        }
        Shape::Binds => {
            let one = address("|:[0-9]{1,5}");
            json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
        }
        Shape::Address => address(""),
        Shape::PoolName | Shape::Name => json!({ "type": "string", "pattern": name_pattern() }),
        Shape::Servers => servers(),
        Shape::Block(inner) => Value::Object(block(inner)),
        Shape::OffOr(inner) => {
            json!({ "anyOf": [{ "const": "off" }, block(inner), { "type": "null" }] })
        }
        Shape::Named(inner) => named(&Value::Object(block(inner))),
        Shape::NamedOrServers(inner) => named(&json!({ "anyOf": [servers(), block(inner)] })),
    }
}

/// An address, or what `more` adds as a further branch of the pattern.
fn address(more: &str) -> Value {
    let ip = r"[0-9.]+:[0-9]{1,5}|\[[0-9A-Fa-f:.%]+\]:[0-9]{1,5}";
    json!({ "type": "string", "pattern": format!("^(unix:/.+|{ip}{more})$") })
}

fn servers() -> Value {
    let server = json!({ "anyOf": [address(""), block(&SERVER)] });
    json!({ "type": "array", "minItems": 1, "maxItems": SERVERS_MAX, "items": server })
}

fn named(each: &Value) -> Value {
    let names = name_pattern();
    json!({ "type": "object", "minProperties": 1, "patternProperties": { names: each }, "additionalProperties": false })
}

fn name_pattern() -> String {
    format!("^[A-Za-z0-9_.-]{{1,{NAME_MAX}}}$")
}
