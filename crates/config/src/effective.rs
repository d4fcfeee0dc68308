//! A plan as a file again, with the defaults filled in; left out is only what follows something else, such as the name
//! of a server its address. It loads to an equal plan, and never prints a secret, because a plan holds none.

mod http;
mod tls;

use std::fmt::Display;
use std::path::Path;

use crate::plan::{
    Access, AccessLog, ConnectionLimit, Health, HealthCheck, HealthPort, Listener, ListenerLimits,
    Network, Plan, Pool, Server, Timeouts, Workers,
};
use crate::value::duration_text;

/// The file, with its defaults filled in, that gives `plan`.
#[must_use]
pub fn effective(plan: &Plan) -> String {
    let mut text = process(plan);
    text.push_str("listeners:\n");
    plan.listeners
        .iter()
        .for_each(|listener| text.push_str(&self::listener(plan, listener)));
    text.push_str("pools:\n");
    plan.pools
        .iter()
        .for_each(|pool| text.push_str(&self::pool(pool)));
    text
}

fn process(plan: &Plan) -> String {
    let workers = match plan.workers {
        Workers::Auto => "auto".to_owned(),
        Workers::Exactly(count) => count.to_string(),
    };
    let connections = match plan.limits.connections {
        ConnectionLimit::Auto => "auto".to_owned(),
        ConnectionLimit::Exactly(count) => count.to_string(),
    };
    let access = match &plan.log.access {
        AccessLog::Off => "off".to_owned(),
        AccessLog::Stdout => "stdout".to_owned(),
        AccessLog::File(path) => quoted(&path.display().to_string()),
    };
    let socket = quoted(&plan.admin.socket.display().to_string());
    let http = plan
        .admin
        .http
        .map_or("off".to_owned(), |addr| quoted(&addr.to_string()));
    let timeouts = clocks(&plan.timeouts);
    let drain = duration_text(plan.drain);
    format!(
        "workers: {workers}\n\
         io: {io}\n\
         admin: {{ socket: {socket}, http: {http} }}\n\
         log: {{ level: {level}, access: {access}, format: {format} }}\n\
         limits: {{ connections: {connections}, handshakes: {handshakes} }}\n\
         timeouts: {{ {timeouts}, drain: {drain} }}\n",
        io = plan.io,
        handshakes = plan.limits.handshakes,
        level = plan.log.level,
        format = plan.log.format,
    )
}

fn listener(plan: &Plan, listener: &Listener) -> String {
    let binds: Vec<String> = listener
        .binds
        .iter()
        .map(|bind| quoted(&bind.to_string()))
        .collect();
    let bind = match binds.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let pool = listener.pool.map_or(String::new(), |pool| {
        format!("    pool: {}\n", key(&plan.pool(pool).name))
    });
    format!(
        "  {name}:\n    bind: {bind}\n{http}{routes}{pool}{tls}{proxy}{access}{limits}    timeouts: {{ {timeouts} }}\n",
        name = key(&listener.name),
        http = listener.http.as_ref().map_or(String::new(), http::http),
        routes = match &listener.http {
            Some(http) => http::routes(plan, http),
            None => tls::routes(plan, listener),
        },
        tls = listener.tls.as_ref().map_or(String::new(), tls::tls),
        proxy = listener
            .proxy_protocol
            .as_ref()
            .map_or(String::new(), tls::proxy),
        access = listener.access.as_ref().map_or(String::new(), access),
        limits = limits(&listener.limits),
        timeouts = clocks(&listener.timeouts),
    )
}

fn access(access: &Access) -> String {
    let list = |name: &str, networks: &[Network]| match networks {
        [] => String::new(),
        _ => {
            let lines: String = networks
                .iter()
                .map(|network| format!("        - {}\n", quoted(&network.to_string())))
                .collect();
            format!("      {name}:\n{lines}")
        }
    };
    format!(
        "    access:\n{}{}",
        list("allow", &access.allow),
        list("deny", &access.deny)
    )
}

fn limits(limits: &ListenerLimits) -> String {
    let per_client = limits.per_client.map(|bounds| {
        let set = [
            set("connections", bounds.connections),
            set("rate", bounds.rate),
            set("ipv6_prefix", Some(bounds.ipv6_prefix)),
        ];
        let set: Vec<String> = set.into_iter().flatten().collect();
        format!("{{ {} }}", set.join(", "))
    });
    let set = [
        set("connections", limits.connections),
        set("per_client", per_client),
        set("bandwidth", limits.bandwidth),
    ];
    let set: Vec<String> = set.into_iter().flatten().collect();
    match set.as_slice() {
        [] => String::new(),
        set => format!("    limits: {{ {} }}\n", set.join(", ")),
    }
}

fn set(key: &str, value: Option<impl Display>) -> Option<String> {
    value.map(|value| format!("{key}: {value}"))
}

fn pool(pool: &Pool) -> String {
    let mut text = format!(
        "  {}:\n    balance: {}\n    servers:\n",
        key(&pool.name),
        pool.balance
    );
    pool.servers
        .iter()
        .for_each(|server| text.push_str(&self::server(server)));
    match &pool.health {
        Health::Off => text.push_str("    health: off\n"),
        Health::Connect(check) => text.push_str(&health(check)),
    }
    if let Some(tls) = &pool.tls {
        text.push_str(&tls::server_tls(tls));
    }
    if let Some(version) = pool.proxy_protocol {
        text.push_str(&format!("    proxy_protocol: {version}\n"));
    }
    if pool.http2 {
        text.push_str("    http2: true\n");
    }
    text.push_str(&http::retry(&pool.retry));
    if let Some(hold) = &pool.hold {
        text.push_str(&http::hold(hold));
    }
    let set = [
        ("connect", pool.timeouts.connect),
        ("handshake", pool.timeouts.handshake),
        ("first_byte", pool.timeouts.first_byte),
        ("idle", pool.timeouts.idle),
        ("half_closed", pool.timeouts.half_closed),
        ("response", pool.timeouts.response),
    ];
    let set: Vec<String> = set
        .iter()
        .filter_map(|(key, clock)| clock.map(|clock| format!("{key}: {}", duration_text(clock))))
        .collect();
    if !set.is_empty() {
        text.push_str(&format!("    timeouts: {{ {} }}\n", set.join(", ")));
    }
    text
}

/// The name is left out when it is the address, which a name could not spell.
fn server(server: &Server) -> String {
    let address = server.address.to_string();
    let name = if server.name == address {
        String::new()
    } else {
        format!(", name: {}", quoted(&server.name))
    };
    format!(
        "      - {{ address: {}{name}, weight: {} }}\n",
        quoted(&address),
        server.weight
    )
}

fn health(check: &HealthCheck) -> String {
    let port = match check.port {
        HealthPort::Server => String::new(),
        HealthPort::Exactly(port) => format!(", port: {port}"),
    };
    format!(
        "    health: {{ interval: {}, timeout: {}, rise: {}, fall: {}{port}, tls: {} }}\n",
        duration_text(check.interval),
        duration_text(check.timeout),
        check.rise,
        check.fall,
        check.tls,
    )
}

fn clocks(timeouts: &Timeouts) -> String {
    format!(
        "connect: {}, handshake: {}, first_byte: {}, idle: {}, half_closed: {}, header: {}, response: {}",
        duration_text(timeouts.connect),
        duration_text(timeouts.handshake),
        duration_text(timeouts.first_byte),
        duration_text(timeouts.idle),
        duration_text(timeouts.half_closed),
        duration_text(timeouts.header),
        duration_text(timeouts.response),
    )
}

/// A list; `None` when it is empty, which no key can say.
fn list(values: &[impl Display]) -> Option<String> {
    let values: Vec<String> = values
        .iter()
        .map(|value| quoted(&value.to_string()))
        .collect();
    (!values.is_empty()).then(|| format!("[{}]", values.join(", ")))
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A name; in quotes when YAML would not read it as a word (`-`, `null`, `1.5`).
fn key(name: &str) -> String {
    let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic());
    if is_word && !name.eq_ignore_ascii_case("null") {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A double-quoted scalar (YAML 1.2.2 §7.3.1).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{feff}' | '\u{2028}' | '\u{2029}' => quoted.push_str(&escaped(character)),
            _ if character.is_control() => quoted.push_str(&escaped(character)),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn escaped(character: char) -> String {
    format!("\\u{:04x}", u32::from(character))
}
