//! `ringgate man`: the manual page, one for the whole command, made from the same source as `--help`.

use std::io;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::Cli;
use crate::failure::Failure;
use crate::print::print;

/// Print the manual page, in roff
#[derive(Args, Debug)]
pub(crate) struct Man {}

impl Man {
    pub(crate) fn act(self) -> Result<(), Failure> {
        let page = page()
            .map_err(|error| Failure::new(format_args!("cannot write the manual page: {error}")))?;
        print(&page)
    }
}

/// What surrounds the command: heading and entries of each section.
const AROUND: &[(&str, &[(&str, &str)])] = &[
    (
        "SIGNALS",
        &[
            (
                "SIGTERM, SIGINT, SIGQUIT",
                "Drain, then stop; a second one stops at once.",
            ),
            (
                "SIGHUP, SIGUSR2",
                "Nothing but a warning: the file is read at start only.",
            ),
            ("SIGUSR1, SIGPIPE", "Ignored."),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            ("0", "What was asked for is done."),
            ("1", "It failed; the standard error says why."),
            ("2", "The command line is wrong."),
        ],
    ),
    (
        "FILES",
        &[
            ("/etc/ringgate/ringgate.yaml", "The configuration."),
            (
                "/run/ringgate/admin.sock",
                "The admin socket, which `ringgate status` asks.",
            ),
            (
                "/run/ringgate/admin.sock.lock",
                "Locked while a process serves, so that a second one does not start.",
            ),
        ],
    ),
];

/// The page: the command, one section per verb and per verb of a verb, and what surrounds them.
fn page() -> io::Result<String> {
    let mut command = Cli::command();
    command.build();
    let whole = Page::new(command.clone());
    let mut out = Vec::new();
    whole.render_title(&mut out)?;
    whole.render_name_section(&mut out)?;
    whole.render_synopsis_section(&mut out)?;
    whole.render_description_section(&mut out)?;
    let is_ours = |verb: &&Command| verb.get_name() != "help";
    for verb in command.get_subcommands().filter(is_ours) {
        render_verb(verb, &mut out)?;
        for inner in verb.get_subcommands().filter(is_ours) {
            render_verb(inner, &mut out)?;
        }
    }
    for (heading, entries) in AROUND {
        render_around(heading, entries, &mut out)?;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// A verb as a section of the page: what stands in sections of their own when a command has its own page is put one
/// level lower.
fn render_verb(verb: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    let page = Page::new(verb.clone());
    let mut sections = Vec::new();
    page.render_synopsis_section(&mut sections)?;
    page.render_description_section(&mut sections)?;
    page.render_options_section(&mut sections)?;

    Roff::new()
        .control(
            "SH",
            [verb
                .get_bin_name()
                .unwrap_or(verb.get_name())
                .to_uppercase()
                .as_str()],
        )
        .to_writer(out)?;
    for line in String::from_utf8_lossy(&sections).lines() {
        let lower = line
            .strip_prefix(".SH ")
            .map(|heading| format!(".SS {heading}"));
        out.extend_from_slice(lower.as_deref().unwrap_or(line).as_bytes());
        out.push(b'\n');
    }
    Ok(())
}

fn render_around(heading: &str, entries: &[(&str, &str)], out: &mut Vec<u8>) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (word, meaning) in entries {
        roff.control("TP", [])
            .text([bold(*word)])
            .text([roman(*meaning)]);
    }
    roff.to_writer(out)
}
