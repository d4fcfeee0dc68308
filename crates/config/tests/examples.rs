//! Every file that Ringgate ships or shows loads, and survives the way through `effective` unchanged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use ringgate_config::{effective, load, parse, reference, schema};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// config/ringgate.yaml and everything in config/examples.
fn shipped() -> Vec<PathBuf> {
    let mut files = vec![repository().join("config/ringgate.yaml")];
    let examples = std::fs::read_dir(repository().join("config/examples")).unwrap();
    files.extend(examples.map(|entry| entry.unwrap().path()));
    files.sort();
    files
}

#[test]
fn every_shipped_file_loads_and_effective_gives_the_same_plan() {
    let files = shipped();
    assert!(files.len() > 4, "{files:?}");
    for file in files {
        let plan = load(&file, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let text = effective(&plan);
        let again =
            parse("effective", &text, &[]).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
        assert_eq!(again, plan, "{}:\n{text}", file.display());
        assert_eq!(effective(&again), text);
    }
}

#[test]
fn the_installed_file_shows_every_key_with_its_default() {
    let text = std::fs::read_to_string(repository().join("config/ringgate.yaml")).unwrap();
    let shown = parse("ringgate.yaml", &text, &[]).unwrap();
    let short = "listeners: { example: { bind: 127.0.0.1:8080, pool: example } }\n\
                 pools: { example: [127.0.0.1:8081, { address: 127.0.0.1:8082, name: second }] }";
    assert_eq!(shown, parse("short", short, &[]).unwrap());
    for key in keys_of(&schema()) {
        assert!(
            text.contains(&format!("{key}:")),
            "config/ringgate.yaml does not show `{key}`"
        );
    }
}

#[test]
fn the_reference_is_that_of_the_code() {
    let file = repository().join("docs/configuration.md");
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == reference(),
        "docs/configuration.md is old; make it anew with\n\
         cargo run -p ringgate-config --example reference > docs/configuration.md"
    );
}

#[test]
fn the_schema_is_closed_at_every_level() {
    let schema = schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(
        schema["required"],
        serde_json::json!(["listeners", "pools"])
    );
    assert_eq!(schema["properties"]["io"]["default"], "auto");
    assert_closed(&schema);
}

/// Every object of the schema that describes a block says that no other key is allowed.
fn assert_closed(schema: &serde_json::Value) {
    match schema {
        serde_json::Value::Object(object) => {
            if object.contains_key("properties") || object.contains_key("patternProperties") {
                assert_eq!(
                    object.get("additionalProperties"),
                    Some(&serde_json::json!(false)),
                    "{object:#?}"
                );
            }
            object.values().for_each(assert_closed);
        }
        serde_json::Value::Array(items) => items.iter().for_each(assert_closed),
        _ => {}
    }
}

/// The name of every key that the schema describes, at any depth.
fn keys_of(schema: &serde_json::Value) -> Vec<String> {
    let mut keys = Vec::new();
    match schema {
        serde_json::Value::Object(object) => {
            if let Some(serde_json::Value::Object(properties)) = object.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            object
                .values()
                .for_each(|inner| keys.extend(keys_of(inner)));
        }
        serde_json::Value::Array(items) => {
            items.iter().for_each(|inner| keys.extend(keys_of(inner)))
        }
        _ => {}
    }
    keys
}
