//! Values from the command line: where they land, who wins, and how their mistakes read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ringgate_config::{Balance, LogLevel, Override, Plan, Workers, parse};

const FILE: &str = "workers: 2\nlisteners:\n  db: { bind: \":5432\", pool: db.v2 }\npools:\n  \
                    db.v2: { servers: [10.0.0.1:80] }\n  short: [10.0.0.1:80]\n";

fn with(assignments: &[&str]) -> Result<Plan, String> {
    let overrides: Vec<Override> = assignments
        .iter()
        .map(|text| Override::parse(text).unwrap())
        .collect();
    parse("file.yaml", FILE, &overrides).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn a_value_wins_over_the_file_and_a_later_one_over_an_earlier() {
    let plan = with(&[
        "workers=3",
        "workers=auto",
        "log.level=debug",
        "timeouts.idle=7s",
    ])
    .unwrap();
    assert_eq!(plan.workers, Workers::Auto);
    assert_eq!(plan.log.level, LogLevel::Debug);
    assert_eq!(plan.listeners[0].timeouts.idle.as_secs(), 7);
}

#[test]
fn a_path_reaches_names_with_dots_and_makes_what_is_missing() {
    let plan = with(&[
        "pools.db.v2.balance=p2c",
        "pools.new=[10.0.0.9:80]",
        "pools.db.v2.health.rise=9",
    ])
    .unwrap();
    assert_eq!(plan.pools[0].balance, Balance::P2c);
    assert_eq!(plan.pools[2].name, "new");
}

#[test]
fn a_pool_in_the_short_form_takes_further_keys() {
    let plan = with(&["pools.short.balance=p2c", "pools.short.health.rise=9"]).unwrap();
    assert_eq!(plan.pools[1].balance, Balance::P2c);
    assert_eq!(plan.pools[1].servers.len(), 1);
    let plan = with(&["pools.short.servers=[10.0.0.2:80, 10.0.0.3:80]"]).unwrap();
    assert_eq!(plan.pools[1].servers.len(), 2);
}

#[test]
fn an_address_needs_no_quotes() {
    let plan = with(&["admin.http=[::1]:9900", "listeners.db.bind=:1234"]).unwrap();
    assert_eq!(plan.admin.http, Some("[::1]:9900".parse().unwrap()));
    assert_eq!(plan.listeners[0].binds[0].to_string(), ":1234");
}

#[test]
fn a_flag_of_its_own_is_an_override_too() {
    let overrides = [Override::flag("--workers", "workers", "0")];
    let mistakes = parse("file.yaml", FILE, &overrides).unwrap_err();
    let expected = "--workers: `0` is out of bounds\n  | workers=0\n  |         ^\n  \
                    expected `auto` or a whole number from 1 to 256";
    assert_eq!(mistakes.to_string().replace("   |", "  |"), expected);
}

#[test]
fn mistakes_are_shown_at_the_flag() {
    let check = |assignment: &str, expected: &str| {
        assert_eq!(with(&[assignment]).unwrap_err(), expected);
    };
    check(
        "listeners.db.pool=dbv2",
        "--set listeners.db.pool: no pool is called `dbv2`\n   | listeners.db.pool=dbv2\n   |                   ^^^^\n  \
         expected one of: db.v2, short\n  did you mean `db.v2`?",
    );
    check(
        "wrokers=4",
        "--set wrokers: unknown key `wrokers`\n   | wrokers=4\n   | ^^^^^^^\n  \
         expected one of: workers, io, admin, log, limits, timeouts, listeners, pools\n  did you mean `workers`?",
    );
    check(
        "pools.short.servers.a=random",
        "--set pools.short.servers.a: `pools.short.servers` is a list and has no keys\n   \
         | pools.short.servers.a=random\n   |                     ^\n  set the whole of `pools.short.servers`",
    );
    check(
        "log.level=",
        "--set log.level: `level` is empty\n   | log.level=\n   | ^^^^^^^^^\n  \
         expected one of: error, warn, info, debug, trace",
    );
    check(
        "pools.db.v2.servers=[10.0.0.1:80, {address: x}]",
        "--set pools.db.v2.servers: `x` is not an address and a port\n   \
         | pools.db.v2.servers=[10.0.0.1:80, {address: x}]\n   \
         |                                             ^\n  \
         expected an IP address and a port, such as 10.0.0.1:80, \"[fd00::1]:80\" or unix:/path",
    );
}

#[test]
fn what_is_no_assignment_is_refused_at_once() {
    let check = |text: &str| assert!(Override::parse(text).is_err(), "{text}");
    check("");
    check("workers");
    check("=4");
    check("log.=debug");
    check(".log=debug");
    check("a..b=1");
    check(&format!("{}=1", ["a"; 100_000].join(".")));
}
