//! Promise: under systemd Ringgate starts, stops, comes back after a kill, and is kept in a narrow sandbox.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;
use ringgate_tests::{TempDir, binary, finish};

/// Exposure times ten: no load balancer in Debian is below 80.
const EXPOSURE_MAX: &str = "20";

#[test]
fn it_boots_serves_stops_and_comes_back_under_systemd() {
    let boot = root().join("tests/nspawn/boot");
    // Only root may boot a container.
    let mut sudo = Command::new("sudo");
    let command = if geteuid().is_root() {
        &mut Command::new(boot)
    } else {
        sudo.arg("--non-interactive").arg(boot)
    };
    let booted = command.arg(binary()).output().unwrap();
    let report = [booted.stdout, booted.stderr].concat();
    assert!(
        booted.status.success(),
        "{}",
        String::from_utf8_lossy(&report)
    );
}

#[test]
fn the_units_are_well_formed() {
    let dir = TempDir::new();
    for unit in ["ringgate.service", "ringgate.socket"] {
        let text = fs::read_to_string(root().join("systemd").join(unit)).unwrap();
        // Verifying looks for the program, which is not installed here.
        let text = text.replace(
            "ExecStart=/usr/bin/ringgate",
            &format!("ExecStart={}", binary().display()),
        );
        fs::write(dir.path().join(unit), text).unwrap();
    }
    let units = ["ringgate.service", "ringgate.socket"].map(|unit| dir.path().join(unit));
    let verified = finish(
        Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .args(units),
    );
    assert_eq!(
        (verified.code, verified.stderr.as_str()),
        (Some(0), ""),
        "{verified:?}"
    );
}

#[test]
fn the_service_is_less_exposed_than_the_threshold() {
    let unit = root().join("systemd/ringgate.service");
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let judged = finish(
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", &threshold])
            .arg(unit),
    );
    assert_eq!(judged.code, Some(0), "{}", judged.stdout);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
