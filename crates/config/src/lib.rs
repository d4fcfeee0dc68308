//! Ringgate's configuration: from the YAML text to a [`Plan`] that cannot be wrong, or to every mistake in it at once.
//! This is the only room that knows YAML; it opens no socket and starts nothing.
//!
//! The way of a file: its text ([`load`], or [`parse`] for a text at hand) → a tree of nodes that know their places
//! → overrides of the command line put into the tree → one walk against the description of the keys → [`Plan`].
//! [`schema()`] and [`reference()`] print that description, [`effective()`] prints a plan.

mod decode;
mod effective;
mod key;
mod keys;
mod mistakes;
mod near;
mod node;
mod overrides;
mod place;
mod places;
mod plan;
mod read;
mod reference;
mod schema;
mod value;
mod word;
mod yaml;

use std::path::Path;

pub use crate::effective::effective;
pub use crate::mistakes::{Excerpt, Mistake, Mistakes};
pub use crate::overrides::Override;
pub use crate::places::Places;
pub use crate::plan::{
    AcceptProxy, Access, AccessLog, Address, Admin, Algorithm, Auth, Balance, Bandwidth, Bind,
    Certificates, ClientAuth, ClientAuthMode, ConnectionLimit, FieldChanges, FieldCondition,
    Health, HealthCheck, HealthPort, Hold, Http, HttpLimits, HttpRoute, Io, Jwt, JwtKeys, LimitBy,
    Limits, Listener, ListenerLimits, Log, LogFormat, LogLevel, NamePattern, Network, Pair,
    PathPattern, PerClient, Plan, Pool, PoolIndex, ProxyVersion, Rate, RateLimit, Redirect,
    RedirectTo, Remark, Retry, Route, Server, ServerTls, Stages, TimeoutOverrides, Timeouts, Tls,
    TlsVersion, UnknownName, Workers,
};
pub use crate::reference::reference;
pub use crate::schema::schema;

use crate::mistakes::Collector;
use crate::node::Node;
use crate::place::Source;

/// The plan of the file at `path`, with `overrides` in place of what the file says; later ones win.
///
/// # Errors
/// Every mistake of the file and the overrides, or the one that kept the file from being read.
pub fn load(path: &Path, overrides: &[Override]) -> Result<Plan, Mistakes> {
    load_with_places(path, overrides).map(|(plan, _)| plan)
}

/// As [`load`], with the places of the values: for what is found to be wrong with them later, such as that a file
/// which the plan names holds no certificate.
///
/// # Errors
/// As those of [`load`].
pub fn load_with_places(path: &Path, overrides: &[Override]) -> Result<(Plan, Places), Mistakes> {
    let name = path.display().to_string();
    parse_with_places(&name, &read::text(path, &name)?, overrides)
}

/// The plan of `text`, which mistakes call `name`, with `overrides` in place of what it says; later ones win.
///
/// # Errors
/// Every mistake of the text and the overrides.
pub fn parse(name: &str, text: &str, overrides: &[Override]) -> Result<Plan, Mistakes> {
    parse_with_places(name, text, overrides).map(|(plan, _)| plan)
}

/// As [`parse`], with the places of the values, as [`load_with_places`] gives them.
///
/// # Errors
/// As those of [`parse`].
pub fn parse_with_places(
    name: &str,
    text: &str,
    overrides: &[Override],
) -> Result<(Plan, Places), Mistakes> {
    let file = Source {
        name: name.to_owned(),
        text: text.to_owned(),
        has_lines: true,
    };
    let sources: Vec<Source> = std::iter::once(file)
        .chain(overrides.iter().map(Override::source))
        .collect();
    let mut mistakes = Collector::new(&sources);
    let root = tree(&sources, overrides, &mut mistakes);
    let plan = root.and_then(|root| Some((decode::decode(&root, &mut mistakes)?, root)));
    match (plan, mistakes.finish()) {
        (_, Some(mistakes)) => Err(mistakes),
        (Some((plan, root)), None) => Ok((plan, Places::new(sources, root))),
        (None, None) => unreachable!("there is no plan only after a mistake was added"),
    }
}

/// The tree of the file with the overrides in it; `None` when the file is not YAML.
fn tree(sources: &[Source], overrides: &[Override], mistakes: &mut Collector<'_>) -> Option<Node> {
    let (root, mut findings) = match yaml::parse(&sources[0], 0, 0) {
        Ok(document) => (Some(document.root), document.findings),
        Err(findings) => (None, findings),
    };
    let root = root.map(|mut root| {
        for (index, (source, over)) in sources.iter().skip(1).zip(overrides).enumerate() {
            findings.extend(over.apply(&mut root, source, index + 1));
        }
        root
    });
    findings
        .into_iter()
        .for_each(|finding| mistakes.add(finding));
    root
}
