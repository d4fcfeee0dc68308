//! Whatever a file holds, it is answered: no panic, no hang, no unbounded memory, whether it is good or not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use ringgate_config::{Override, load, parse};

/// Far above what any of these texts takes, far below what a test run gives up on.
const TIME_MAX: Duration = Duration::from_secs(20);

fn good_file(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/examples");
    std::fs::read_to_string(format!("{folder}/{name}.yaml")).unwrap()
}

/// Reads `text` and prints what came out, within the time.
fn answer(what: &str, text: &str) {
    let start = Instant::now();
    if let Err(mistakes) = parse("file.yaml", text, &[]) {
        assert!(!mistakes.to_string().is_empty());
    }
    assert!(
        start.elapsed() < TIME_MAX,
        "{what} took {:?}",
        start.elapsed()
    );
}

#[test]
fn a_file_cut_off_anywhere_is_answered() {
    for name in [
        "many-services",
        "passthrough",
        "proxy-protocol",
        "api-gateway",
        "signed-tokens",
        "https",
    ] {
        let text = good_file(name);
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            answer("a cut", &text[..end]);
        }
    }
}

#[test]
fn a_file_with_random_bytes_in_it_is_answered() {
    let good = [
        "many-services",
        "passthrough",
        "proxy-protocol",
        "api-gateway",
        "signed-tokens",
        "https",
    ]
    .map(|name| good_file(name).into_bytes());
    let interesting = b"\0\t\n\r \"#%&'*,-:<>?@[]{}|!~`0a\xc3\xbc";
    for seed in 1..=3000_u64 {
        let mut random = Random(seed);
        let mut bytes = good[random.below(good.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = interesting[random.below(interesting.len())],
                1 => bytes.insert(at, interesting[random.below(interesting.len())]),
                _ => drop(bytes.drain(at..(at + random.below(12)).min(bytes.len()))),
            }
        }
        answer(&format!("seed {seed}"), &String::from_utf8_lossy(&bytes));
        let value = String::from_utf8_lossy(&bytes[..40]).into_owned();
        let _ = parse(
            "file.yaml",
            "",
            &[Override::flag("--flag", "listeners.a.bind", value)],
        );
    }
}

#[test]
fn a_file_made_to_exhaust_is_answered() {
    const SIZE: usize = 4 * 1024 * 1024;
    let repeated = |part: &str| part.repeat(SIZE / part.len());
    let numbered = |form: fn(usize) -> String| (0..SIZE / 24).map(form).collect::<String>();
    answer("open lists", &repeated("["));
    answer("open blocks", &repeated("{a: "));
    answer("dashes", &repeated("- "));
    answer("question marks", &repeated("? "));
    answer("colons", &repeated(":"));
    answer("quotes", &repeated("\""));
    answer("one long word", &repeated("a"));
    answer("one long value", &format!("workers: {}", repeated("9")));
    answer(
        "one long quoted value",
        &format!("io: \"{}\"", repeated("ü")),
    );
    answer(
        "a long list of nothing",
        &format!("workers: [{}]", repeated("a,")),
    );
    answer("empty lines", &repeated("\n"));
    answer("comments", &repeated("#\n"));
    answer("documents", &repeated("---\n"));
    answer(
        "anchors",
        &format!("[{}]", numbered(|n| format!("&a{n} x, "))),
    );
    answer(
        "unknown keys",
        &numbered(|n| format!("k{n}: {{bind: 1}}\n")),
    );
    answer("one key over and over", &repeated("key: 1\n"));
    answer(
        "listeners",
        &format!(
            "listeners:\n{}",
            numbered(|n| format!("  l{n}: {{bind: :80, pool: x}}\n"))
        ),
    );
    answer(
        "pools",
        &format!(
            "pools:\n{}",
            numbered(|n| format!("  p{n}: [10.0.0.1:80]\n"))
        ),
    );
    let dangling = (0..40_000)
        .map(|n| format!("  l{n}: {{bind: :80, pool: pol{n}}}\n"))
        .collect::<String>();
    let pools = (0..40_000)
        .map(|n| format!("  pool{n}: [10.0.0.1:80]\n"))
        .collect::<String>();
    answer(
        "dangling pools",
        &format!("listeners:\n{dangling}pools:\n{pools}"),
    );
    let routes = |conditions: fn(usize) -> String| {
        let routes = (0..4096).map(|n| format!("    - {{ pool: p, {} }}\n", conditions(n)));
        let routes: String = routes.collect();
        format!(
            "listeners:\n  a:\n    bind: \":80\"\n    routes:\n{routes}pools: {{ p: [10.0.0.1:80] }}\n"
        )
    };
    let shared = |n: usize| {
        let shared: String = (0..60).map(|host| format!("{host}.test, ")).collect();
        format!("sni: [{shared}{n}.test]")
    };
    answer("routes that share names", &routes(shared));
    answer(
        "routes that share a name",
        &routes(|n| format!("sni: a.test, client: \"{n:x}::/16\"")),
    );
    answer(
        "routes that never match",
        &routes(|_| "sni: a.test".to_owned()),
    );
    answer(
        "routes of many labels",
        &routes(|n| format!("sni: {}{n}.test", "a.".repeat(120))),
    );
    let requests = |conditions: fn(usize) -> String| {
        let text = routes(conditions);
        text.replace("bind: \":80\"", "bind: \":80\"\n    http: {}")
    };
    answer(
        "routes of requests that share a path",
        &requests(|n| format!("path: /a/*, host: {n}.test")),
    );
    answer(
        "routes of requests that share fields",
        &requests(|n| format!("path: /a, headers: {{ x-a: \"1\", x-b: \"*\", x-n: \"{n}\" }}")),
    );
    answer(
        "routes of requests that never match",
        &requests(|_| "headers: { x-a: \"1\" }".to_owned()),
    );
    answer(
        "routes of long paths",
        &requests(|n| format!("path: {}{n}/*", "/a".repeat(450))),
    );
    answer(
        "routes of requests that share many methods",
        &requests(|n| {
            let shared: String = (0..60).map(|method| format!("M{method}, ")).collect();
            format!("methods: [{shared}N{n}]")
        }),
    );
    let mut bomb = "a0: &a0 [x, x]\n".to_owned();
    (1..60).for_each(|n| bomb.push_str(&format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)));
    answer("an alias bomb", &bomb);
}

#[test]
fn what_is_not_a_readable_file_is_named() {
    let folder = Folder::new("unreadable");
    let check = |path: PathBuf, expected: &str| {
        let start = Instant::now();
        let mistakes = load(&path, &[]).unwrap_err().to_string();
        assert!(start.elapsed() < TIME_MAX);
        assert_eq!(mistakes, format!("{}: {expected}", path.display()));
    };
    check(
        folder.0.join("missing.yaml"),
        "cannot be read: No such file or directory (os error 2)\n  give the path of the configuration with -c FILE",
    );
    check(
        folder.0.clone(),
        "this is a directory\n  expected a regular file",
    );
    let pipe = folder.0.join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    check(pipe, "this is a pipe\n  expected a regular file");
    check(
        "/dev/zero".into(),
        "this is a device or a socket\n  expected a regular file",
    );
    check(
        folder.file("large.yaml", &vec![b'#'; 10 << 20]),
        "the file is too large\n  expected at most 4 MiB",
    );
    let utf16: Vec<u8> = "\u{feff}workers: 2\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    check(
        folder.file("utf16.yaml", &utf16),
        "the file is UTF-16\n  save it as UTF-8",
    );
    check(
        folder.file("latin1.yaml", b"# Gr\xfc\xdfe\nworkers: 2\n"),
        "the file is not UTF-8: the first wrong byte is in line 1\n  save it as UTF-8",
    );
}

#[test]
fn mistakes_in_a_file_name_its_path() {
    let folder = Folder::new("named");
    let file = folder.file("ringgate.yaml", b"workers: 0\nlisteners: {}\npools: {}\n");
    let mistakes = load(&file, &[]).unwrap_err();
    assert_eq!(
        mistakes.iter().next().unwrap().place,
        format!("{}:1:10", file.display())
    );
}

/// A folder of this test process that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("ringgate-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::File::create(&path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}
