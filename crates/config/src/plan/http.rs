//! The parts of the plan that speak of HTTP: what a listener demands of requests and does with them, and which request
//! goes where. Files and URLs are named here and never opened.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::{NamePattern, Network, PoolIndex, Rate};

/// A listener speaks HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Whose `X-Forwarded-For` counts; nobody's when empty.
    pub trusted_proxies: Vec<Network>,
    /// The bounds of requests.
    pub limits: HttpLimits,
    /// What is done with requests that no route matched, and the routes' own where they say nothing.
    pub stages: Stages,
    /// The first that matches decides.
    pub routes: Vec<HttpRoute>,
}

/// The bounds of the requests of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of the head of a request: its line and its fields.
    pub header_bytes: u32,
    /// Fields of a head, each crumb of a cookie counted.
    pub fields: u32,
    /// Requests on one connection before it is closed.
    pub requests_per_connection: NonZeroU32,
    /// Requests that one HTTP/2 connection may have open at once.
    pub streams: NonZeroU32,
}

/// What is done with a request, in the order in which it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// How clients show who they are; `None` when nobody has to.
    pub auth: Option<Auth>,
    /// The scopes that a consumer must have, all of them.
    pub require: Vec<String>,
    /// How many requests are let through; all of them hold.
    pub rate_limits: Vec<RateLimit>,
    /// They are a route's own, and counted apart from those of its listener.
    pub counts_apart: bool,
    /// The largest body in bytes; `None` for any.
    pub body_max: Option<u64>,
    /// Answered at once; the request goes to no pool.
    pub redirect: Option<Redirect>,
    /// Fields changed on the way to the server.
    pub request_fields: FieldChanges,
    /// Fields changed on the way to the client.
    pub response_fields: FieldChanges,
}

/// How clients show who they are. At least one way; any of them is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// What clients are told to authenticate for (RFC 9110 §11.5).
    pub realm: String,
    /// The file with the hashes of tokens. Absolute.
    pub tokens_file: Option<PathBuf>,
    /// The file with users and the hashes of their passwords (`Basic`, RFC 7617). Absolute.
    pub users_file: Option<PathBuf>,
    /// Signed tokens (RFC 7519).
    pub jwt: Option<Jwt>,
    /// A client certificate that the listener's TLS has verified is enough; its subject is the consumer.
    pub client_certificate: bool,
}

/// Which signed tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Where the keys are.
    pub keys: JwtKeys,
    /// Who must have issued a token (`iss`); `None` for anybody with a key.
    pub issuer: Option<String>,
    /// For whom a token must be (`aud`), any of these; empty for anybody.
    pub audience: Vec<String>,
    /// The algorithms that are believed (RFC 7518 §3.1 names), such as `ES256`. Never empty.
    pub algorithms: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// The claim that names the consumer.
    pub consumer_claim: String,
    /// The claim with the scopes: a list, or words with spaces between.
    pub scope_claim: String,
}

/// Where the keys of signed tokens are (a JWK set, RFC 7517 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// In this file. Absolute; a JWK set, or one public key as PEM.
    File(PathBuf),
    /// Behind this URL: `https`, or `http` to an address of this host.
    Url {
        /// The URL.
        url: String,
        /// Those who may sign the certificate of its server; `None` when those that the system trusts. PEM, absolute.
        ca: Option<PathBuf>,
        /// How often it is asked.
        refresh: Duration,
        /// How long keys hold when it cannot be asked.
        max_age: Duration,
    },
}

/// How many requests are let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So many.
    pub rate: Rate,
    /// So many at once, after a quiet time.
    pub burst: NonZeroU32,
    /// Counted for each of these.
    pub by: LimitBy,
}

/// Whom a rate limit counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitBy {
    /// The address of the client, an IPv6 one by its /64.
    ClientIp,
    /// The consumer; the address of the client where there is none.
    Consumer,
    /// The value of this field, in lower case; the address of the client where a request has none.
    Header(String),
}

impl fmt::Display for LimitBy {
    /// As the file writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Consumer => f.write_str("consumer"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// Where a client is sent instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The target.
    pub to: RedirectTo,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// The target of a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectTo {
    /// The same host, path and query by `https`, at the default port.
    Https,
    /// This URL or absolute path. `$host`, `$path` and `$query` in it stand for those of the request.
    Url(String),
}

/// Fields that are set or removed. Names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldChanges {
    /// Set, whatever there was, in the order of the file.
    pub set: Vec<(String, String)>,
    /// Removed.
    pub remove: Vec<String>,
}

/// Answers the requests that fulfil all of its conditions. At least one condition is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// What log and metrics call it: its name in the file, or its first host and path, or its first other condition,
    /// with `#` and a number where another route has that name. Unique on the listener.
    pub name: String,
    /// The names that a client asked for by SNI, any of them; any or none when empty.
    pub sni: Vec<NamePattern>,
    /// Where a client comes from, any of them; anywhere when empty.
    pub client: Vec<Network>,
    /// The hosts asked for, any of them; any when empty.
    pub host: Vec<NamePattern>,
    /// The paths asked for, any of them; any when empty.
    pub path: Vec<PathPattern>,
    /// The methods, any of them; any when empty. As the file writes them: methods are case-sensitive.
    pub methods: Vec<String>,
    /// Fields that a request has, all of them. Names in lower case.
    pub headers: Vec<FieldCondition>,
    /// Parameters of the query, all of them.
    pub query: Vec<FieldCondition>,
    /// Where its requests go; empty when they are redirected. Each with its share, never all 0.
    pub pools: Vec<(PoolIndex, u32)>,
    /// What the path becomes; `None` leaves it. With a star at the end it takes what the star of the pattern stood for.
    pub rewrite: Option<PathPattern>,
    /// What is done with its requests: the listener's, with what the route says in place.
    pub stages: Stages,
}

impl HttpRoute {
    /// Its name where the file gives none and no other route has it: its first host and path, or its first other
    /// condition, as the file writes them.
    pub(crate) fn first_conditions(&self) -> String {
        let first = |condition: &FieldCondition| condition.name.clone();
        let place = match (self.host.first(), self.path.first()) {
            (Some(host), Some(path)) => Some(format!("{host}{path}")),
            (Some(host), None) => Some(host.to_string()),
            (None, path) => path.map(PathPattern::to_string),
        };
        place
            .or_else(|| self.sni.first().map(NamePattern::to_string))
            .or_else(|| self.client.first().map(Network::to_string))
            .or_else(|| self.methods.first().cloned())
            .or_else(|| self.headers.first().map(first))
            .or_else(|| self.query.first().map(first))
            .unwrap_or_default()
    }
}

/// A path, or all paths under one. Canonical: as it is matched and forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// `/a/*` is `Under("/a")`: `/a` and all paths that begin with `/a/`. `/*` is `Under("")`: every path.
    Under(String),
}

impl fmt::Display for PathPattern {
    /// As the file writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Under(path) => write!(f, "{path}/*"),
        }
    }
}

/// A field or a parameter that a request must have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldCondition {
    /// Its name.
    pub name: String,
    /// Its value, byte for byte; `None` for any.
    pub value: Option<String>,
}

/// How often a request is tried on another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further servers that one request or connection may try.
    pub attempts: u8,
    /// Retries that are let through, in percent of the requests.
    pub budget_percent: u8,
    /// Statuses of a server after which an idempotent request is tried on another one.
    pub statuses: Vec<u16>,
}

/// Clients are kept waiting while no server is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How long at most.
    pub patience: Duration,
    /// How many at once, over all workers; the next one is refused.
    pub max: NonZeroU32,
}
