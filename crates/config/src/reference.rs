//! The reference of the file for people, docs/configuration.md, made from the description of the keys. It holds
//! nothing that is not there, but for the few sentences around the tables.

use crate::key::{Absent, Block, Key, Shape};
use crate::keys::{BLOCKS, HTTP_ROUTE};
use crate::value::admission::{byte_rate_text, bytes_text};
use crate::value::duration_text;

const INTRODUCTION: &str = r#"# Configuration

<!-- Made from crates/config/src/keys.rs by `cargo run -p ringgate-config --example reference > docs/configuration.md`. -->

One YAML file, `/etc/ringgate/ringgate.yaml`; `-c FILE` names another. `ringgate check` says every mistake in it at
once, and `ringgate schema` prints its JSON Schema. `ringgate check --effective` prints the file with its defaults
filled in; what is left out there follows something else: the name of a server its address, the port of a check the
server, the timeouts of a pool the listener, the name of a route its first conditions, what a route does with HTTP the
listener. The shortest useful file:

```yaml
listeners:
  db: { bind: ":5432", pool: db }
pools:
  db: [10.0.0.1:5432, 10.0.0.2:5432]
```

- An unknown key is a mistake, and so is a key that is set twice.
- A **duration** is a whole number and one unit: `500ms`, `2s`, `1m`, `1h`.
- A **rate** is a number per period: `50/s`, `100/10s`, `6000/m`. A **size** is a number of KiB (1024 bytes), MiB or GiB:
  `32KiB`, `10MiB`. A **bandwidth** is a size per second: `64KiB/s`, `10MiB/s`.
- A **network** is an address and the number of bits that its addresses share: `10.0.0.0/8`, `"fd00::/8"`; an address
  alone is the network of that address.
- An **address** is an IP address and a port, `10.0.0.1:80`, or `unix:` and an absolute path. In quotes where YAML asks
  for it: `"[fd00::1]:80"`, `":443"`.
- A **path** is absolute. Files that are named are read at the start and by `ringgate check`.
- `--set KEY.PATH=VALUE` on the command line wins over the file, and the last one over the ones before it:
  `--set timeouts.idle=1h --set pools.db.balance=least_conn`. It cannot reach into a list; the short form of a pool
  counts as a block with `servers`.
"#;

/// The text of docs/configuration.md.
#[must_use]
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    BLOCKS
        .iter()
        .for_each(|block| text.push_str(&section(block)));
    text
}

fn section(block: &Block) -> String {
    let heading = if block.path.is_empty() {
        "The top of the file".to_owned()
    } else {
        match is_of_http(block) {
            true => format!("`{}` with `http`", block.path),
            false => format!("`{}`", block.path),
        }
    };
    let rows: String = block.keys.iter().map(|key| row(key)).collect();
    let words: String = block.keys.iter().map(|key| word_list(key)).collect();
    let doc = block.doc;
    format!(
        "\n## {heading}\n\n{doc}\n\n| key | value | when not set | meaning |\n|---|---|---|---|\n{rows}{words}"
    )
}

fn row(key: &Key) -> String {
    format!(
        "| `{}` | {} | {} | {} |\n",
        key.name,
        value(&key.shape),
        absent(&key.absent),
        key.doc
    )
}

fn absent(absent: &Absent) -> String {
    match absent {
        Absent::Mistake => "**mandatory**".to_owned(),
        Absent::Value(text) => format!("`{text}`"),
        Absent::Otherwise(clause) => (*clause).to_owned(),
        Absent::Defaults => "the defaults of its keys".to_owned(),
    }
}

fn value(shape: &Shape) -> String {
    match shape {
        Shape::Duration { least, most } => format!(
            "duration, {} to {}",
            duration_text(*least),
            duration_text(*most)
        ),
        Shape::Integer { least, most } => format!("{least} to {most}"),
        Shape::AutoOrInteger { least, most } => format!("`auto`, or {least} to {most}"),
        Shape::Word { words, .. } => words
            .iter()
            .map(|word| format!("`{}`", word.text))
            .collect::<Vec<_>>()
            .join(", "),
        Shape::Rate {
            count_max,
            period_least,
            period_most,
        } => format!(
            "rate, 1 to {count_max} per {} to {}",
            duration_text(*period_least),
            duration_text(*period_most)
        ),
        Shape::Bandwidth { least, most } => format!(
            "bandwidth, {} to {}",
            byte_rate_text(*least),
            byte_rate_text(*most)
        ),
        Shape::Size { least, most } => {
            format!("size, {} to {}", bytes_text(*least), bytes_text(*most))
        }
        Shape::OffOrSize { least, most } => format!(
            "`off`, or size, {} to {}",
            bytes_text(*least),
            bytes_text(*most)
        ),
        Shape::Percent => "1% to 100%".to_owned(),
        Shape::Status(statuses) => statuses
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        Shape::Statuses => "status, or a list of statuses".to_owned(),
        Shape::Networks => "network, or a list of networks".to_owned(),
        Shape::Boolean => "`true` or `false`".to_owned(),
        Shape::FilePath => "absolute path".to_owned(),
        Shape::HostName => "host name".to_owned(),
        Shape::HostPatterns => "host name, or a list of host names".to_owned(),
        Shape::Protocols => "protocol, or a list of protocols".to_owned(),
        Shape::Certificates(block) => format!(
            "absolute path of a folder, or list of [certificates]({}) and absolute paths",
            anchor(block)
        ),
        Shape::Routes(plain, http) => format!(
            "list of [routes]({}), with `http` of [routes of requests]({})",
            anchor(plain),
            anchor(http)
        ),
        Shape::Text(text) => text.noun.to_owned(),
        Shape::Texts(text) => format!("{0}, or a list of {0}s", text.noun),
        Shape::OffOrTexts(text) => format!("`off`, or {0}, or a list of {0}s", text.noun),
        Shape::Map(text) => format!("value per {}", text.noun),
        Shape::Words(words) => words
            .iter()
            .map(|word| format!("`{}`", word.text))
            .collect::<Vec<_>>()
            .join(", "),
        Shape::Shares => "share, 0 to 10000, per name of a pool".to_owned(),
        Shape::Redirect(block) => format!("`https`, or [block]({})", anchor(block)),
        Shape::OffOrBlocks(block) => {
            format!("`off`, or [block]({0}), or a list of such", anchor(block))
        }
        Shape::SocketPath => "absolute path".to_owned(),
        Shape::AccessLog => "`stdout`, `off` or an absolute path".to_owned(),
        Shape::HttpDoor => "`off`, or IP address and port".to_owned(),
        Shape::Binds => "address, or a list of addresses".to_owned(),
        Shape::Address => "address".to_owned(),
        Shape::PoolName => "name of a pool".to_owned(),
        Shape::Name => "name".to_owned(),
        Shape::Servers => "list of addresses and [server blocks](#poolsnameservers)".to_owned(),
        Shape::Block(block) => format!("[block]({})", anchor(block)),
        Shape::OffOr(block) => format!("`off`, or [block]({})", anchor(block)),
        Shape::Named(block) => format!("[block]({}) per name", anchor(block)),
        Shape::NamedOrServers(block) => {
            format!("[block]({}) or list of servers per name", anchor(block))
        }
    }
}

/// The meaning of every word of a key that has a list of them.
fn word_list(key: &Key) -> String {
    let (Shape::Word { words, .. } | Shape::Words(words)) = &key.shape else {
        return String::new();
    };
    let lines: String = words
        .iter()
        .map(|word| format!("- `{}`: {}\n", word.text, word.doc.trim()))
        .collect();
    format!("\n`{}`:\n\n{lines}", key.name)
}

/// The anchor that a Markdown heading gets: lower case, without what is not a letter, digit, `_` or `-`.
fn anchor(block: &Block) -> String {
    let kept = block
        .path
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect::<String>();
    let suffix = if is_of_http(block) { "-with-http" } else { "" };
    format!("#{}{suffix}", kept.to_lowercase())
}

/// Whether it is the second block of its path: the one of listeners that speak HTTP.
fn is_of_http(block: &Block) -> bool {
    std::ptr::eq(block, &HTTP_ROUTE)
}
