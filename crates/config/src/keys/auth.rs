//! The keys that say how clients of HTTP show who they are. The files that they name are described where they are read.

use std::time::Duration;

use super::texts::{CLAIM, IDENTITY, KEYS_PLACE, REALM_TEXT};
use super::{ALSO_CA, DAY, MINUTE, MONTH, SECOND};
use crate::key::{Absent, Block, Key, Shape};
use crate::word::Algorithm;

const ALSO_AUTH: &[&str] = &[
    "authentication",
    "authn",
    "authenticate",
    "basic_auth",
    "basicauth",
    "auth_basic",
    "auth_request",
    "forward_auth",
    "jwt_authn",
    "auth_jwt",
    "http_auth",
    "tokens_file",
    "users_file",
];

pub(crate) static AUTH_KEY: Key = Key {
    name: "auth",
    shape: Shape::OffOr(&AUTH),
    absent: Absent::Otherwise("nobody has to"),
    doc: "How clients show who they are; whoever does not gets 401. `off` is the same as nothing.",
    also: ALSO_AUTH,
};

pub(crate) static ROUTE_AUTH_KEY: Key = Key {
    name: "auth",
    shape: Shape::OffOr(&AUTH),
    absent: Absent::Otherwise("as on the listener"),
    doc: "How clients show who they are; `off`: they need not, and no scope is required of them.",
    also: ALSO_AUTH,
};

pub(crate) static AUTH: Block = Block {
    what: "auth block",
    path: "listeners.NAME.http.auth",
    doc: "How clients show who they are: `tokens_file`, `users_file`, `jwt` and `client_certificate`, at least one of \
          them, and any of them is enough. Servers learn the name of the consumer from `X-Consumer`, and do not get \
          the `Authorization` that it came by.",
    keys: &[
        &REALM,
        &TOKENS_FILE,
        &USERS_FILE,
        &JWT_KEY,
        &CLIENT_CERTIFICATE,
    ],
    later: &["forward", "on_error"],
    elsewhere: &[
        ("require", "`require` stands beside `auth`, in `http`"),
        (
            "scopes",
            "scopes that are required stand beside `auth`, in `http`: `require`",
        ),
    ],
};

pub(crate) static REALM: Key = Key {
    name: "realm",
    shape: Shape::Text(&REALM_TEXT),
    absent: Absent::Value("ringgate"),
    doc: "What clients are told to authenticate for, in `WWW-Authenticate`.",
    also: &["auth_basic", "name", "title"],
};

pub(crate) static TOKENS_FILE: Key = Key {
    name: "tokens_file",
    shape: Shape::FilePath,
    absent: Absent::Otherwise("no such tokens"),
    doc: "The file with the hashes of tokens, one per line: `NAME sha256:HEX [scope,scope]`. `ringgate token new` \
          makes them. It is read again when it changes.",
    also: &[
        "tokens",
        "token_file",
        "token",
        "api_keys",
        "keys",
        "bearer",
        "api_key",
    ],
};

pub(crate) static USERS_FILE: Key = Key {
    name: "users_file",
    shape: Shape::FilePath,
    absent: Absent::Otherwise("no passwords"),
    doc: "The file with users and the hashes of their passwords (`Basic`). It is read again when it changes.",
    also: &[
        "users",
        "user_file",
        "userlist",
        "basic",
        "basic_auth",
        "passwords",
        "htpasswd",
        "auth_basic_user_file",
    ],
};

pub(crate) static JWT_KEY: Key = Key {
    name: "jwt",
    shape: Shape::Block(&JWT),
    absent: Absent::Otherwise("no signed tokens"),
    doc: "Which signed tokens (JWT) are believed.",
    also: &[
        "jwts",
        "jwt_authn",
        "auth_jwt",
        "jwks",
        "oidc",
        "oauth",
        "oauth2",
        "providers",
    ],
};

pub(crate) static CLIENT_CERTIFICATE: Key = Key {
    name: "client_certificate",
    shape: Shape::Boolean,
    absent: Absent::Value("false"),
    doc: "Whether a certificate that `tls.client_auth` of the listener has found good is enough; its subject names the \
          consumer.",
    also: &["client_cert", "certificate", "mtls", "client_auth", "tls"],
};

pub(crate) static JWT: Block = Block {
    what: "jwt block",
    path: "listeners.NAME.http.auth.jwt",
    doc: "Which signed tokens are believed. A token must have an end (`exp`) that lies ahead; the key that signed it \
          decides the algorithm.",
    keys: &[
        &JWT_KEYS,
        &JWT_CA,
        &JWT_ISSUER,
        &JWT_AUDIENCE,
        &JWT_ALGORITHMS,
        &JWT_LEEWAY,
        &JWT_REFRESH,
        &JWT_MAX_AGE,
        &JWT_CONSUMER,
        &JWT_SCOPES,
    ],
    later: &[],
    elsewhere: &[],
};

pub(crate) static JWT_KEYS: Key = Key {
    name: "keys",
    shape: Shape::Text(&KEYS_PLACE),
    absent: Absent::Mistake,
    doc: "Where the keys are: the absolute path of a file with a JWK set or one public key as PEM, or the `https` URL \
          of a JWK set; `http` only to this host.",
    also: &[
        "key",
        "jwks",
        "jwks_uri",
        "jwks_url",
        "key_file",
        "auth_jwt_key_file",
        "remote_jwks",
        "local_jwks",
        "public_key",
        "url",
        "file",
    ],
};

pub(crate) static JWT_CA: Key = Key {
    name: "ca",
    shape: Shape::FilePath,
    absent: Absent::Otherwise("those that the system trusts"),
    doc: "The file with the authorities that may sign the certificate of the server with the keys. Only with an \
          `https` URL.",
    also: ALSO_CA,
};

pub(crate) static JWT_ISSUER: Key = Key {
    name: "issuer",
    shape: Shape::Text(&IDENTITY),
    absent: Absent::Otherwise("anybody with one of the keys"),
    doc: "Who must have issued a token (`iss`).",
    also: &["iss", "issuers", "provider"],
};

pub(crate) static JWT_AUDIENCE: Key = Key {
    name: "audience",
    shape: Shape::Texts(&IDENTITY),
    absent: Absent::Otherwise("anybody"),
    doc: "For whom a token must be (`aud`), any of these.",
    also: &["aud", "audiences", "client_id"],
};

pub(crate) static JWT_ALGORITHMS: Key = Key {
    name: "algorithms",
    shape: Shape::Words(Algorithm::WORDS),
    absent: Absent::Otherwise("all but those that begin with HS"),
    doc: "The algorithms that are believed. Those that begin with HS sign with a secret that both sides know, and go \
          only with a file of keys.",
    also: &["algorithm", "alg", "algs", "signing_algorithms"],
};

pub(crate) static JWT_LEEWAY: Key = Key {
    name: "leeway",
    shape: Shape::Duration {
        least: Duration::ZERO,
        most: MINUTE,
    },
    absent: Absent::Value("30s"),
    doc: "How far the clocks of issuer and Ringgate may differ.",
    also: &[
        "clock_skew",
        "clock_skew_seconds",
        "skew",
        "auth_jwt_leeway",
    ],
};

pub(crate) static JWT_REFRESH: Key = Key {
    name: "refresh",
    shape: Shape::Duration {
        least: SECOND.saturating_mul(10),
        most: DAY,
    },
    absent: Absent::Value("5m"),
    doc: "How often a URL is asked for the keys; also, but seldom, when a token names a key that is not there.",
    also: &[
        "interval",
        "cache",
        "cache_duration",
        "ttl",
        "refresh_interval",
    ],
};

pub(crate) static JWT_MAX_AGE: Key = Key {
    name: "max_age",
    shape: Shape::Duration {
        least: MINUTE,
        most: MONTH,
    },
    absent: Absent::Value("24h"),
    doc: "How long keys hold when their URL cannot be asked; at least `refresh`.",
    also: &["age", "stale", "expire", "keep"],
};

pub(crate) static JWT_CONSUMER: Key = Key {
    name: "consumer",
    shape: Shape::Text(&CLAIM),
    absent: Absent::Value("sub"),
    doc: "The claim that names the consumer.",
    also: &[
        "consumer_claim",
        "subject",
        "sub",
        "user",
        "claim",
        "principal_claim",
    ],
};

pub(crate) static JWT_SCOPES: Key = Key {
    name: "scopes",
    shape: Shape::Text(&CLAIM),
    absent: Absent::Value("scope"),
    doc: "The claim with the scopes: a list, or words with spaces between.",
    also: &[
        "scope",
        "scope_claim",
        "scopes_claim",
        "roles",
        "permissions",
        "scp",
    ],
};
