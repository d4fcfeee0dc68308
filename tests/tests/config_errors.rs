//! Promise: a file is checked whole before anything happens, and the command line says what is wrong with either.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use ringgate_tests::{Authority, Says};
use ringgate_tests::{Config, Finished, Ringgate, Server, TempDir, loopback, refuses, run_to_end};

const WRONG: &str = "
worker: 2
listeners:
  web: { bind: '127.0.0.1:$web', pool: ap }
  mail: { bind: '127.0.0.1:$mail', pool: app, timeouts: { idle: 5 parsecs } }
pools:
  app:
    balance: roundrobin
    health: { interval: 2s, fal: 3 }
    servers: [127.0.0.1:80, 127.0.0.1]
";

/// The word that each mistake of `WRONG` must be about, and its line in that text.
const MISTAKES: [(&str, usize); 6] = [
    ("worker", 2),
    ("ap", 4),
    ("5 parsecs", 5),
    ("roundrobin", 8),
    ("fal", 9),
    ("127.0.0.1", 10),
];

#[test]
fn every_mistake_is_named_with_its_place_and_nothing_is_bound() {
    let config = Config::write(WRONG);
    let file = config.file();
    let text = fs::read_to_string(&file).unwrap();
    let added_lines = text.lines().count() + 1 - WRONG.lines().count();
    for verb in ["check", "run"] {
        let finished = run_to_end(&[verb, "-c", &file.display().to_string()]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        for (word, line) in MISTAKES {
            let line = line + added_lines - 1;
            let column = column_of(&text, line, word);
            let place = format!("{}:{line}:{column}", file.display());
            assert!(
                finished.stderr.contains(&place),
                "{verb} does not name {word:?} at {place}:\n{}",
                finished.stderr
            );
        }
        for hint in ["workers", "app", "round_robin", "least_conn", "fall", "^"] {
            assert!(
                finished.stderr.contains(hint),
                "{verb} does not help with {hint:?}:\n{}",
                finished.stderr
            );
        }
    }
    for name in ["web", "mail", "admin"] {
        assert!(refuses(loopback(config.port(name))), "{name} was bound");
    }
    assert!(!config.dir().join("admin.sock").exists());
    assert!(!config.dir().join("access.log").exists());
}

/// Where `word` stands on a line, both from 1.
fn column_of(text: &str, line: usize, word: &str) -> usize {
    let content = text.lines().nth(line - 1).unwrap();
    // The last one: a key or an address may hold the same letters before.
    content.rfind(word).unwrap() + 1
}

#[test]
fn keys_that_do_not_work_yet_are_unknown() {
    let listeners = [
        "proxy_protocol: { accept: true }",
        "tls: { certs: /x }",
        "http: { compress: [gzip] }",
        "routes: []",
    ];
    let pools = [
        "outlier: { failures: 5 }",
        "fail_open: 50%",
        "slow_start: 30s",
        "sticky: { cookie: a }",
        "health: { path: /healthz }",
        "max_age: 1h",
    ];
    for (listener, pool) in listeners
        .map(|key| (key, ""))
        .into_iter()
        .chain(pools.map(|key| ("", key)))
    {
        let comma = |key: &str| {
            if key.is_empty() {
                String::new()
            } else {
                format!(", {key}")
            }
        };
        let config = Config::write(&format!(
            "
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app{} }}
pools:
  app: {{ servers: [127.0.0.1:80]{} }}
",
            comma(listener),
            comma(pool)
        ));
        let finished = check(&config.file(), &[]);
        let key = [listener, pool].concat();
        let name = key.split(':').next().unwrap();
        assert_eq!(finished.code, Some(1), "{key}: {finished:?}");
        assert!(finished.stderr.contains(name), "{key}: {finished:?}");
    }
}

#[test]
fn exit_codes_tell_failure_from_wrong_usage() {
    let config = Config::write(GOOD);
    let file = config.file().display().to_string();
    let missing = config.dir().join("missing.yaml").display().to_string();
    let cases: [(&[&str], i32); 9] = [
        (&["check", "-c", &file], 0),
        (&["--version"], 0),
        (&["--help"], 0),
        (&["check", "-c", &missing], 1),
        (&["run", "-c", &missing], 1),
        (&["status", "--admin", &missing], 1),
        (&["chekc"], 2),
        (&["check", "--nonsense"], 2),
        (&["run", "-c", &file, "--workers", "many"], 2),
    ];
    for (args, code) in cases {
        let finished = run_to_end(args);
        assert_eq!(finished.code, Some(code), "{args:?}: {finished:?}");
        let told = if code == 0 {
            &finished.stdout
        } else {
            &finished.stderr
        };
        assert!(!told.trim().is_empty(), "{args:?} says nothing");
    }
}

const GOOD: &str = "
workers: 2
timeouts: { idle: 90s, drain: 5s }
listeners:
  web:
    bind: ['127.0.0.1:$web', '[::1]:$web', 'unix:$dir/web.sock']
    pool: app
    timeouts: { connect: 250ms }
  other: { bind: ':$other', pool: short }
pools:
  app:
    balance: p2c
    health: { interval: 5s, timeout: 2s, rise: 3, fall: 4, port: 8080 }
    servers: ['10.0.0.1:80', { address: '10.0.0.2:80', name: b, weight: 3 }]
  short: ['10.0.0.3:80']
";

#[test]
fn what_check_effective_prints_is_a_file_that_means_the_same() {
    let config = Config::write(GOOD);
    let first = check(&config.file(), &["--effective"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    for told in [
        "p2c",
        "250ms",
        "connect: 3s",
        "half_closed: 30s",
        "level: info",
        "weight: 3",
    ] {
        assert!(
            first.stdout.contains(told),
            "{told:?} is not in\n{}",
            first.stdout
        );
    }
    let again = config.dir().join("again.yaml");
    fs::write(&again, &first.stdout).unwrap();
    let second = check(&again, &["--effective"]);
    assert_eq!((second.code, second.stdout), (Some(0), first.stdout));
}

#[test]
fn flags_and_set_win_over_the_file() {
    let config = Config::write(GOOD);
    let effective = check(
        &config.file(),
        &[
            "--effective",
            "--set",
            "timeouts.idle=7m",
            "--set",
            "pools.app.balance=random",
            "--set",
            "limits.connections=77",
        ],
    );
    assert_eq!(effective.code, Some(0), "{effective:?}");
    for told in ["idle: 7m", "balance: random", "connections: 77"] {
        assert!(
            effective.stdout.contains(told),
            "{told:?} is not in\n{}",
            effective.stdout
        );
    }
    let wrong = check(&config.file(), &["--set", "pools.app.balanse=random"]);
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("balance"), "{wrong:?}");

    let server = Server::echo();
    let ringgate = Ringgate::start_with(
        &format!(
            "
workers: 1
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp: [{server}]
"
        ),
        &["--workers", "2", "--set", "limits.connections=77"],
    );
    let status = ringgate.status();
    assert_eq!(status["workers"].as_array().unwrap().len(), 2, "{status}");
    assert_eq!(status["connections"]["max"], 77, "{status}");
}

#[test]
fn every_file_that_we_show_is_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut shown = yaml_files(&root.join("config"));
    assert!(!shown.is_empty());
    let dir = TempDir::new();
    let pages = ["README.md", "docs/operations.md", "docs/security.md"];
    for page in pages {
        let text = fs::read_to_string(root.join(page)).unwrap_or_default();
        for (number, block) in yaml_blocks(&text)
            .filter(|block| block.contains("listeners:"))
            .enumerate()
        {
            let file = dir
                .path()
                .join(format!("{}-{number}.yaml", page.replace('/', "-")));
            fs::write(&file, block).unwrap();
            shown.push(file);
        }
    }
    assert!(
        shown.iter().any(|file| file.starts_with(dir.path())),
        "the README shows a file"
    );
    // The files that they name are those of some other host.
    let named = TempDir::new();
    let authority = Authority::new("shown");
    let identity = authority.sign(&Says::names(&["example.com"]));
    identity.write(&named.path().join("certs"), "site");
    let in_place = |name: &str, text: &str| fs::write(named.path().join(name), text).unwrap();
    in_place("app.pem", &identity.cert);
    in_place("app.key", &identity.key);
    in_place("ca.pem", authority.pem());
    in_place("clients.pem", authority.pem());
    in_place("tokens", "");
    in_place("users", "");
    let folder = format!("{}/", named.path().display());
    for file in shown {
        let text = fs::read_to_string(&file).unwrap();
        let here = named.path().join("ringgate.yaml");
        fs::write(&here, text.replace("/etc/ringgate/", &folder)).unwrap();
        let finished = check(&here, &[]);
        assert_eq!(
            finished.code,
            Some(0),
            "{}\n{}",
            file.display(),
            finished.stderr
        );
    }
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.extension() {
            _ if path.is_dir() => yaml_files(&path),
            Some(extension) if extension == "yaml" => vec![path],
            _ => Vec::new(),
        })
        .collect()
}

fn yaml_blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
}

#[test]
fn the_schema_knows_the_keys_of_the_file() {
    let schema = run_to_end(&["schema"]);
    assert_eq!(schema.code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).unwrap();
    for key in [
        "listeners",
        "pools",
        "workers",
        "io",
        "admin",
        "log",
        "limits",
        "timeouts",
    ] {
        assert!(
            schema["properties"][key].is_object(),
            "{key} is not in the schema"
        );
    }
    assert_eq!(
        schema["additionalProperties"], false,
        "an unknown key is an error"
    );
}

#[test]
fn the_helpers_print_what_their_readers_expect() {
    for (args, sign) in [
        (&["completions", "bash"][..], "_ringgate"),
        (&["completions", "zsh"], "#compdef ringgate"),
        (&["man"], ".TH"),
    ] {
        let finished = run_to_end(args);
        assert_eq!(finished.code, Some(0), "{args:?}");
        assert!(
            finished.stdout.contains(sign),
            "{args:?} prints no {sign:?}"
        );
    }
}

fn check(file: &Path, args: &[&str]) -> Finished {
    let file = file.display().to_string();
    run_to_end(&[&["check", "-c", &file], args].concat())
}
