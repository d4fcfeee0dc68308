//! Every file in tests/broken is refused with exactly the mistakes of the `.expected` file beside it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use ringgate_config::parse;

fn broken_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_broken_file_is_answered_as_expected() {
    let files = broken_files();
    assert!(files.len() > 100, "{} broken files", files.len());
    let mut differences = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let expected = std::fs::read_to_string(file.with_extension("expected")).unwrap_or_default();
        match parse(name, &text, &[]) {
            Ok(plan) => differences.push(format!("{name} is accepted: {plan:#?}")),
            Err(mistakes) if format!("{mistakes}\n") != expected => {
                differences.push(format!("{name}: expected\n{expected}\ngot\n{mistakes}\n"));
            }
            Err(_) => {}
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_hundred_mistakes_are_shown_and_the_rest_is_counted() {
    let keys: String = (0..1000)
        .map(|number| format!("key{number}: 1\n"))
        .collect();
    let text = format!(
        "{keys}listeners: {{ a: {{ bind: \":80\", pool: a }} }}\npools: {{ a: [10.0.0.1:80] }}\n"
    );
    let mistakes = parse("many.yaml", &text, &[]).unwrap_err();
    assert_eq!(mistakes.iter().count(), 100);
    assert_eq!(mistakes.count(), 1000);
    assert!(
        mistakes.to_string().ends_with("\n\nand 900 more"),
        "{mistakes}"
    );
}
