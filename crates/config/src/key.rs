//! How a key is described: its form and bounds, what holds when it is not set, its meaning. The description itself
//! is keys.rs; here is only what one can say about any key.

use std::time::Duration;

use crate::value::admission::{byte_rate_text, bytes_text};
use crate::value::{NAME_MAX, duration_text};
use crate::word::Word;

/// One key of a block.
#[derive(Debug)]
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: &'static str,
    /// What its value looks like.
    pub(crate) shape: Shape,
    /// What holds when it is not set.
    pub(crate) absent: Absent,
    /// Its meaning, in sentences.
    pub(crate) doc: &'static str,
    /// What other products call it; answered with "did you mean".
    pub(crate) also: &'static [&'static str],
}

/// What holds when a key is not set.
#[derive(Debug)]
pub(crate) enum Absent {
    /// That is a mistake.
    Mistake,
    /// This value, as it would be written.
    Value(&'static str),
    /// What this clause says.
    Otherwise(&'static str),
    /// The defaults of the keys in its block.
    Defaults,
}

/// What a value looks like.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A whole number and a unit.
    Duration {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// A whole number.
    Integer {
        /// The smallest.
        least: u32,
        /// The largest.
        most: u32,
    },
    /// `auto` or a whole number.
    AutoOrInteger {
        /// The smallest.
        least: u32,
        /// The largest.
        most: u32,
    },
    /// So many per period.
    Rate {
        /// The largest number.
        count_max: u32,
        /// The shortest period.
        period_least: Duration,
        /// The longest period.
        period_most: Duration,
    },
    /// Bytes per second.
    Bandwidth {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// Bytes.
    Size {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// `off` or bytes.
    OffOrSize {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// 1 to 100 in percent.
    Percent,
    /// One of a list of statuses of HTTP.
    Status(&'static [u16]),
    /// Statuses of servers that ask for another try, or one of them.
    Statuses,
    /// Networks, or one of them.
    Networks,
    /// `true` or `false`.
    Boolean,
    /// The absolute path of a file.
    FilePath,
    /// The name of a host.
    HostName,
    /// Names of hosts, or of all hosts under a name, or one of them.
    HostPatterns,
    /// Names of protocols as ALPN has them, or one of them.
    Protocols,
    /// The absolute path of a folder, or a list of certificate blocks and paths.
    Certificates(&'static Block),
    /// A list of route blocks: of the first kind, or on listeners that speak HTTP of the second.
    Routes(&'static Block, &'static Block),
    /// A text of a kind.
    Text(&'static Text),
    /// Texts of a kind, or one of them.
    Texts(&'static Text),
    /// `off`, or texts of a kind, or one of them.
    OffOrTexts(&'static Text),
    /// Names of a kind with a text each.
    Map(&'static Text),
    /// Words of a list, or one of them.
    Words(&'static [Word]),
    /// Names of pools with a share each.
    Shares,
    /// `https` or a block of keys.
    Redirect(&'static Block),
    /// `off`, or a block of keys, or a list of such blocks.
    OffOrBlocks(&'static Block),
    /// One of a list of words.
    Word {
        /// The list.
        words: &'static [Word],
        /// The words of the contract that do not work yet.
        later: &'static [&'static str],
    },
    /// The absolute path of a unix socket.
    SocketPath,
    /// `stdout`, `off` or the absolute path of a file.
    AccessLog,
    /// `off` or an IP address and port.
    HttpDoor,
    /// An address to accept on, or a list of them.
    Binds,
    /// The address of a server.
    Address,
    /// The name of a pool of the file.
    PoolName,
    /// A name that is given here.
    Name,
    /// A list of addresses and server blocks.
    Servers,
    /// A block of keys.
    Block(&'static Block),
    /// `off` or a block of keys.
    OffOr(&'static Block),
    /// A block per name.
    Named(&'static Block),
    /// A block per name, or for a pool its list of servers alone.
    NamedOrServers(&'static Block),
}

impl Shape {
    /// One clause that says what is expected; part of many mistakes.
    pub(crate) fn expected(&self) -> String {
        format!("expected {}", self.form())
    }

    /// The block that describes the keys of a value.
    pub(crate) fn block(&self) -> Option<&'static Block> {
        match self {
            Self::Block(block)
            | Self::OffOr(block)
            | Self::Redirect(block)
            | Self::OffOrBlocks(block) => Some(block),
            _ => None,
        }
    }

    /// What a value looks like, as a clause.
    pub(crate) fn form(&self) -> String {
        match self {
            Self::Duration { least, most } => {
                let (least, most) = (duration_text(*least), duration_text(*most));
                format!("a duration from {least} to {most}, such as 500ms, 2s, 1m or 1h")
            }
            Self::Integer { least, most } => format!("a whole number from {least} to {most}"),
            Self::AutoOrInteger { least, most } => {
                format!("`auto` or a whole number from {least} to {most}")
            }
            Self::Rate {
                count_max,
                period_least,
                period_most,
            } => {
                let (least, most) = (duration_text(*period_least), duration_text(*period_most));
                format!(
                    "a rate such as 50/s, 100/10s or 6000/m: 1 to {count_max} per {least} to {most}"
                )
            }
            Self::Bandwidth { least, most } => {
                let (least, most) = (byte_rate_text(*least), byte_rate_text(*most));
                format!("a bandwidth from {least} to {most}, such as 64KiB/s, 10MiB/s or 1GiB/s")
            }
            Self::Size { least, most } => {
                let (least, most) = (bytes_text(*least), bytes_text(*most));
                format!("a size from {least} to {most}, such as 64KiB, 10MiB or 1GiB")
            }
            Self::OffOrSize { least, most } => {
                let (least, most) = (bytes_text(*least), bytes_text(*most));
                format!("`off` or a size from {least} to {most}, such as 64KiB, 10MiB or 1GiB")
            }
            Self::Percent => "a percentage from 1% to 100%, such as 20%".to_owned(),
            Self::Status(statuses) => format!("one of: {}", joined(*statuses)),
            Self::Statuses => "statuses from 500 to 599, 425 or 429, such as [502, 503]".to_owned(),
            Self::Networks => {
                "networks or addresses, such as [10.0.0.0/8, \"fd00::/8\", 192.0.2.1]".to_owned()
            }
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::FilePath => "the absolute path of a file".to_owned(),
            Self::HostName => "the name of a host, such as a.example.com".to_owned(),
            Self::HostPatterns => "names, such as [a.example.com, \"*.example.org\"]".to_owned(),
            Self::Protocols => "names of protocols, such as [h2, http/1.1]".to_owned(),
            Self::Certificates(_) => {
                "the absolute path of a folder, or a list such as [{ cert: /a.pem, key: /a.key }]"
                    .to_owned()
            }
            Self::Routes(block, _) => {
                format!("a list of blocks with the keys: {}", block.key_list())
            }
            Self::Text(text) => text.one.to_owned(),
            Self::Texts(text) | Self::Map(text) => text.many.to_owned(),
            Self::OffOrTexts(text) => format!("`off` or {}", text.many),
            Self::Words(words) => {
                format!(
                    "one or several of: {}",
                    joined(words.iter().map(|word| word.text))
                )
            }
            Self::Word { words, .. } => {
                format!("one of: {}", joined(words.iter().map(|word| word.text)))
            }
            Self::Shares => {
                "names of pools with a share each, such as { stable: 95, trial: 5 }".to_owned()
            }
            Self::Redirect(block) => {
                format!("`https` or a block with the keys: {}", block.key_list())
            }
            Self::OffOrBlocks(block) => format!(
                "`off`, a block with the keys: {}, or a list of such blocks",
                block.key_list()
            ),
            Self::SocketPath => "the absolute path of a unix socket".to_owned(),
            Self::AccessLog => "`stdout`, `off` or the absolute path of a file".to_owned(),
            Self::HttpDoor => {
                "`off` or an IP address and a port, such as 127.0.0.1:9900".to_owned()
            }
            Self::Binds => "an address such as \":443\", or a list of them".to_owned(),
            Self::Address => "an address such as 10.0.0.1:80".to_owned(),
            Self::PoolName => "the name of a pool".to_owned(),
            Self::Name => format!("1 to {NAME_MAX} of the characters A-Z a-z 0-9 _ . -"),
            Self::Servers => "a list of servers, such as [10.0.0.1:80, 10.0.0.2:80]".to_owned(),
            Self::Block(block) => format!("a block with the keys: {}", block.key_list()),
            Self::OffOr(block) => format!("`off` or a block with the keys: {}", block.key_list()),
            Self::Named(block) => format!("a name for each {}, with a block below it", block.what),
            Self::NamedOrServers(block) => {
                format!(
                    "a name for each {}, with its servers or a block below it",
                    block.what
                )
            }
        }
    }
}

/// The texts of one kind that a key takes.
#[derive(Debug)]
pub(crate) struct Text {
    /// What one is called.
    pub(crate) noun: &'static str,
    /// What one looks like, as a clause.
    pub(crate) one: &'static str,
    /// What several look like, as a clause.
    pub(crate) many: &'static str,
    /// The regular expression for the schema, which may be wider than what is taken.
    pub(crate) pattern: &'static str,
}

fn joined(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

/// A set of keys that stand together.
#[derive(Debug)]
pub(crate) struct Block {
    /// What it describes, without an article.
    pub(crate) what: &'static str,
    /// How a path to it is written in the reference; empty at the top.
    pub(crate) path: &'static str,
    /// Its meaning, in sentences.
    pub(crate) doc: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [&'static Key],
    /// The keys of the contract that do not work here yet.
    pub(crate) later: &'static [&'static str],
    /// Keys that belong elsewhere, and where.
    pub(crate) elsewhere: &'static [(&'static str, &'static str)],
}

impl Block {
    /// Its keys as a mistake lists them.
    pub(crate) fn key_list(&self) -> String {
        joined(self.keys.iter().map(|key| key.name))
    }
}
