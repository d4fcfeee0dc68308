//! The JSON Schema of the file, for editors and other checkers, made from the description of the keys. It knows
//! the form of every value, and nothing of what only the whole file shows, such as whether a pool exists.

use serde_json::{Map, Value, json};

use crate::decode::{ROUTES_MAX, SERVERS_MAX};
use crate::key::{Absent, Block, Key, Shape, Text};
use crate::keys::{ROOT, SERVER};
use crate::value::NAME_MAX;
use crate::value::amounts::SHARE_MAX;
use crate::value::names::PROTOCOL_MAX;
use crate::word::Word;

/// The form of the name of a host, with or without the dot at its end.
const HOST: &str =
    r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?";

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
            let default = match (&key.shape, text) {
                (Shape::Boolean, text) => json!(text == "true"),
                (_, text) => text
                    .parse::<u32>()
                    .map_or_else(|_| json!(text), |number| json!(number)),
            };
            schema.insert("default".into(), default);
        }
        let is_block = matches!(key.shape, Shape::Block(_));
        if is_block && !schema.contains_key("required") {
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
            let words: Vec<Value> = words.iter().map(word).collect();
            json!({ "oneOf": words })
        }
        Shape::Rate { .. } => json!({ "type": "string", "pattern": "^[0-9]+/[0-9]*(ms|s|m|h)$" }),
        Shape::Bandwidth { .. } => {
            json!({ "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)/s$" })
        }
        Shape::Size { .. } => size(),
        Shape::OffOrSize { .. } => json!({ "anyOf": [{ "const": "off" }, size()] }),
        Shape::Percent => json!({ "type": "string", "pattern": "^(100|[1-9][0-9]?)%$" }),
        Shape::Status(statuses) => json!({ "enum": statuses }),
        Shape::Statuses => one_or_more(&json!({ "anyOf": [
            { "enum": [425, 429] },
            { "type": "integer", "minimum": 500, "maximum": 599 },
        ] })),
        Shape::Networks => {
            let one = json!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$" });
            one_or_more(&one)
        }
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::FilePath => path(),
        Shape::HostName => json!({ "type": "string", "pattern": format!("^{HOST}$") }),
        Shape::HostPatterns => {
            one_or_more(&json!({ "type": "string", "pattern": format!(r"^(\*\.)?{HOST}$") }))
        }
        Shape::Protocols => one_or_more(
            &json!({ "type": "string", "pattern": "^[!-~]+$", "maxLength": PROTOCOL_MAX }),
        ),
        Shape::Certificates(inner) => {
            let one = json!({ "anyOf": [path(), block(inner)] });
            json!({ "anyOf": [path(), { "type": "array", "minItems": 1, "items": one }] })
        }
        Shape::Routes(plain, http) => {
            let route = json!({ "anyOf": [block(plain), block(http)] });
            json!({ "type": "array", "minItems": 1, "maxItems": ROUTES_MAX, "items": route })
        }
        Shape::Text(text) => one_text(text),
        Shape::Texts(text) => one_or_more(&one_text(text)),
        Shape::OffOrTexts(text) => {
            let many = json!({ "type": "array", "minItems": 1, "items": one_text(text) });
            json!({ "anyOf": [{ "const": "off" }, one_text(text), many] })
        }
        Shape::Map(text) => map(
            text.pattern,
            &json!({ "type": ["string", "number", "boolean"] }),
        ),
        Shape::Words(words) => {
            let words: Vec<&str> = words.iter().map(|word| word.text).collect();
            one_or_more(&json!({ "enum": words }))
        }
        Shape::Shares => map(
            &name_pattern(),
            &json!({ "type": "integer", "minimum": 0, "maximum": SHARE_MAX }),
        ),
        Shape::Redirect(inner) => json!({ "anyOf": [{ "const": "https" }, block(inner)] }),
        Shape::OffOrBlocks(inner) => {
            let one = Value::Object(block(inner));
            let many = json!({ "type": "array", "minItems": 1, "items": one });
            json!({ "anyOf": [{ "const": "off" }, one, many] })
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
            one_or_more(&one)
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

/// A word; without quotes YAML takes some of them for a number.
fn word(word: &Word) -> Value {
    let doc = word.doc.trim();
    match word.text.parse::<f64>() {
        Ok(number) => json!({ "enum": [word.text, number], "description": doc }),
        Err(_) => json!({ "const": word.text, "description": doc }),
    }
}

fn path() -> Value {
    json!({ "type": "string", "pattern": "^/" })
}

fn one_or_more(one: &Value) -> Value {
    json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
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

fn size() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)$" })
}

fn one_text(text: &Text) -> Value {
    json!({ "type": "string", "pattern": text.pattern })
}

fn named(each: &Value) -> Value {
    map(&name_pattern(), each)
}

/// Names of this form, with a value each.
fn map(names: &str, each: &Value) -> Value {
    json!({ "type": "object", "minProperties": 1, "patternProperties": { names: each }, "additionalProperties": false })
}

fn name_pattern() -> String {
    format!("^[A-Za-z0-9_.-]{{1,{NAME_MAX}}}$")
}
