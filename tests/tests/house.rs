//! The house rules that no compiler checks: which room may import which, where `unsafe` and YAML live, how files look.
//! It reads manifests and sources of this repository only, and never runs Ringgate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each room and the rooms it may import, in any kind of dependency. Arrows only downward.
const ROOMS: [(&str, &[&str]); 7] = [
    ("ringgate", &["control", "gateway", "engine", "config"]),
    ("control", &["gateway", "engine", "balance", "config"]),
    ("gateway", &["engine", "config"]),
    ("engine", &["runtime", "balance", "config"]),
    ("balance", &[]),
    ("config", &[]),
    ("runtime", &[]),
];

/// These may import every room, and no one may import them.
const OUTSIDE: [&str; 2] = ["benches", "tests"];

/// The one room that may talk to the kernel by hand.
const UNSAFE_ROOM: &str = "crates/runtime/";

/// The one room that may know what YAML is, and the words by which a YAML crate is known.
const YAML_ROOM: &str = "config";
const YAML_WORDS: [&str; 4] = ["granit", "saphyr", "yaml", "yml"];

/// Lines a file may have before it should become two.
const LINES_MAX: usize = 700;

#[test]
fn rooms_import_only_what_lies_below_them() {
    let rooms = rooms();
    let is_ours = |name: &str| rooms.iter().any(|room| room.name == name);
    let mut offences = Vec::new();
    for room in &rooms {
        let Some(allowed) = may_import(&room.name) else {
            offences.push(format!(
                "{} is not in the list of rooms and what they may import",
                room.name
            ));
            continue;
        };
        for dependency in room.dependencies.iter().filter(|name| is_ours(name)) {
            if !allowed.contains(&dependency.as_str()) {
                offences.push(format!("{} imports {dependency}", room.name));
            }
        }
    }
    check("a room imports only what lies below it", offences);
}

#[test]
fn only_config_knows_yaml() {
    let is_yaml = |name: &String| YAML_WORDS.iter().any(|word| name.contains(word));
    let mut offences = Vec::new();
    for room in rooms() {
        for dependency in room.dependencies.iter().filter(|name| is_yaml(name)) {
            if room.name != YAML_ROOM {
                offences.push(format!("{} imports {dependency}", room.name));
            }
        }
    }
    check("only config knows YAML", offences);
}

#[test]
fn every_crate_takes_the_workspace_s_lints() {
    let takes_them = |manifest: &str| {
        let after = manifest.split_once("\n[lints]\n").map(|(_, after)| after);
        after.is_some_and(|after| after.starts_with("workspace = true\n"))
    };
    let offences = rooms()
        .into_iter()
        .filter(|room| !takes_them(&read(&room.manifest)))
        .map(|room| shown(&room.manifest));
    check(
        "`[lints] workspace = true` stands in every manifest",
        offences,
    );
}

#[test]
fn only_runtime_is_unsafe() {
    let offences = lines_where(|file, line| {
        !file.starts_with(UNSAFE_ROOM) && (is_unsafe(line) || lifts_the_unsafe_lint(line))
    });
    check("only runtime has `unsafe` code", offences);
}

#[test]
fn no_test_is_ignored() {
    let is_ignored =
        |line: &str| line.starts_with("#[") && words(line).any(|word| word == "ignore");
    check(
        "no test is ignored",
        lines_where(|_, line| is_ignored(line)),
    );
}

#[test]
fn every_source_file_says_what_it_is() {
    let says_it = |text: &str| {
        let first = text.lines().next().unwrap_or_default();
        first
            .strip_prefix("//! ")
            .is_some_and(|words| !words.trim().is_empty())
    };
    let offences = sources()
        .into_iter()
        .filter(|file| shown(file).starts_with("crates/") && !says_it(&read(file)))
        .map(|file| shown(&file));
    check(
        "a file of crates/ opens with `//!` and what it is",
        offences,
    );
}

#[test]
fn no_file_is_too_long() {
    let offences = sources().into_iter().filter_map(|file| {
        let lines = read(&file).lines().count();
        (lines > LINES_MAX).then(|| format!("{} has {lines} lines", shown(&file)))
    });
    check(&format!("a file has at most {LINES_MAX} lines"), offences);
}

/// What finds the offences above, tried on lines in which `danger` stands for the keyword.
#[test]
fn offences_are_recognised() {
    let check = |line: &str, expected: bool| {
        let line = line.replace("danger", "unsafe");
        assert_eq!(is_unsafe(&line), expected, "{line}");
    };
    check("danger { go() }", true);
    check("let x = danger{ go() };", true);
    check("pub danger fn go() {", true);
    check("danger impl Send for X {}", true);
    check("#[danger(no_mangle)]", true);
    check("danger", true);
    check("// danger { go() }", false);
    check("let not_danger = 1;", false);
    check("say(\"danger\");", false);
    assert!(lifts_the_unsafe_lint("#![allow(unsafe_code)]"));
    assert!(!lifts_the_unsafe_lint("#![deny(unsafe_code)]"));
    assert_eq!(may_import("balance"), Some(vec![]));
    assert!(may_import("engine").is_some_and(|rooms| !rooms.contains(&"control")));
    assert!(may_import("tests").is_some_and(|rooms| !rooms.contains(&"benches")));
    assert_eq!(may_import("cellar"), None);
}

fn check(rule: &str, offences: impl IntoIterator<Item = String>) {
    let offences: Vec<String> = offences.into_iter().collect();
    assert!(
        offences.is_empty(),
        "the rule is: {rule}; but\n  {}",
        offences.join("\n  ")
    );
}

fn may_import(room: &str) -> Option<Vec<&'static str>> {
    if OUTSIDE.contains(&room) {
        return Some(ROOMS.iter().map(|(name, _)| *name).collect());
    }
    let (_, below) = ROOMS.iter().find(|(name, _)| *name == room)?;
    Some(below.to_vec())
}

/// Whether this line of code, comments apart, opens something unsafe.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices("unsafe").any(|(start, word)| {
        let begins = !code[..start].ends_with(is_word);
        let rest = code[start + word.len()..].trim_start();
        let opens = ["{", "(", "fn", "impl", "trait", "extern"];
        begins && (rest.is_empty() || opens.iter().any(|open| rest.starts_with(open)))
    })
}

fn lifts_the_unsafe_lint(line: &str) -> bool {
    let attribute = line.starts_with('#');
    attribute
        && words(line).any(|word| word == "unsafe_code")
        && words(line).any(|word| word == "allow" || word == "expect" || word == "warn")
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character| !is_word(character))
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// A member of the workspace, with names as the house says them: `engine` for `ringgate-engine`.
struct Room {
    name: String,
    manifest: PathBuf,
    dependencies: Vec<String>,
}

fn rooms() -> Vec<Room> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps"])
        .current_dir(root())
        .output()
        .expect("cargo, which runs this test, can be run by it");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value| value.as_str().expect("cargo gives text here").to_owned();
    let name = |value: &Value| text(value).trim_start_matches("ringgate-").to_owned();
    let list = |value: &Value| value.as_array().expect("cargo gives a list here").clone();
    let room = |package: Value| Room {
        name: name(&package["name"]),
        manifest: text(&package["manifest_path"]).into(),
        dependencies: list(&package["dependencies"])
            .iter()
            .map(|dependency| name(&dependency["name"]))
            .collect(),
    };
    list(&metadata["packages"]).into_iter().map(room).collect()
}

/// `file:line` of every source line, without its indentation, of which this is true.
fn lines_where(is_offence: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in sources() {
        let name = shown(&file);
        for (number, line) in (1..).zip(read(&file).lines()) {
            if is_offence(&name, line.trim()) {
                found.push(format!("{name}:{number}"));
            }
        }
    }
    found
}

/// Every Rust file of the repository.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["crates", "benches", "tests"]
        .map(|top| root().join(top))
        .into();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("folders of the repository can be read");
        for entry in entries {
            let path = entry.expect("folders of the repository can be read").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(
        files.len() > ROOMS.len(),
        "the sources are where they are looked for"
    );
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The path as seen from the top of the repository.
fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in the repository")
}
