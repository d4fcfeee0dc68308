//! The parts of the printed file that speak of TLS, of routes and of the PROXY protocol.

use super::{key, list, path, quoted, set};
use crate::plan::{
    AcceptProxy, Certificates, ClientAuth, Listener, Pair, Plan, Route, ServerTls, Tls,
};

/// The routes of a listener.
pub(super) fn routes(plan: &Plan, listener: &Listener) -> String {
    if listener.routes.is_empty() {
        return String::new();
    }
    let ends_tls = listener.tls.is_some();
    let lines = listener.routes.iter();
    let lines: String = lines.map(|each| route(plan, each, ends_tls)).collect();
    format!("    routes:\n{lines}")
}

/// The name is left out when it is the first condition, which a name could not spell.
fn route(plan: &Plan, route: &Route, ends_tls: bool) -> String {
    let is_named = route.name != route.first_condition();
    let set = [
        set("name", is_named.then(|| quoted(&route.name))),
        set("sni", list(&route.sni)),
        set("alpn", list(&route.alpn)),
        set("client", list(&route.client)),
        set("pool", Some(key(&plan.pool(route.pool).name))),
        set("passthrough", ends_tls.then_some(route.passthrough)),
    ];
    let set: Vec<String> = set.into_iter().flatten().collect();
    format!("      - {{ {} }}\n", set.join(", "))
}

/// How a listener ends TLS.
pub(super) fn tls(tls: &Tls) -> String {
    let certs = match &tls.certs {
        Certificates::Folder(folder) => format!(" {}\n", path(folder)),
        Certificates::List(pairs) => {
            let lines = pairs
                .iter()
                .map(|pair| format!("        - {}\n", self::pair(pair)));
            format!("\n{}", lines.collect::<String>())
        }
    };
    let set = [
        set("min_version", Some(quoted(tls.min_version.word()))),
        set("alpn", list(&tls.alpn)),
        set("client_auth", tls.client_auth.as_ref().map(client_auth)),
        set("ticket_keys", tls.ticket_keys.as_deref().map(path)),
        set("unknown_name", Some(tls.unknown_name)),
    ];
    let lines = set.into_iter().flatten();
    let lines: String = lines.map(|line| format!("      {line}\n")).collect();
    format!("    tls:\n      certs:{certs}{lines}")
}

fn pair(pair: &Pair) -> String {
    if pair.cert == pair.key {
        return path(&pair.cert);
    }
    format!("{{ cert: {}, key: {} }}", path(&pair.cert), path(&pair.key))
}

fn client_auth(auth: &ClientAuth) -> String {
    let set = [
        set("ca", Some(path(&auth.ca))),
        set("mode", Some(auth.mode)),
        set("crl", auth.crl.as_deref().map(path)),
    ];
    let set: Vec<String> = set.into_iter().flatten().collect();
    format!("{{ {} }}", set.join(", "))
}

/// Whose PROXY headers a listener reads.
pub(super) fn proxy(proxy: &AcceptProxy) -> String {
    let set = [
        set("accept", Some(true)),
        set("trusted", list(&proxy.trusted)),
    ];
    let set: Vec<String> = set.into_iter().flatten().collect();
    format!("    proxy_protocol: {{ {} }}\n", set.join(", "))
}

/// How connections to the servers of a pool are encrypted.
pub(super) fn server_tls(tls: &ServerTls) -> String {
    let identity = tls.identity.as_ref();
    let set = [
        set("ca", tls.ca.as_deref().map(path)),
        set("server_name", tls.server_name.as_deref().map(quoted)),
        set("cert", identity.map(|pair| path(&pair.cert))),
        set("key", identity.map(|pair| path(&pair.key))),
        set("alpn", list(&tls.alpn)),
        set("verify", Some(tls.verify)),
    ];
    let set: Vec<String> = set.into_iter().flatten().collect();
    format!("    tls: {{ {} }}\n", set.join(", "))
}
