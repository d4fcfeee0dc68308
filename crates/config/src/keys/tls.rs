//! The keys of a listener that ends TLS: what it shows to clients and what it asks of them.

use crate::key::{Absent, Block, Key, Shape};
use crate::plan::{ClientAuthMode, TlsVersion, UnknownName};

pub(crate) static TLS: Block = Block {
    what: "tls block",
    path: "listeners.NAME.tls",
    doc: "The listener ends TLS. A client is shown the certificate for the name that it asks for by SNI. All files but \
          those of ticket keys are PEM; they are read with the configuration, and again when they change.",
    keys: &[
        &CERTS,
        &MIN_VERSION,
        &TLS_ALPN,
        &CLIENT_AUTH_KEY,
        &TICKET_KEYS,
        &UNKNOWN_NAME,
    ],
    later: &[],
    elsewhere: &[
        (
            "ca",
            "`ca` says who may sign the certificates of clients: `client_auth.ca`",
        ),
        (
            "cert",
            "`certs` takes a list of certificates: `certs: [{ cert: FILE, key: FILE }]`",
        ),
        (
            "key",
            "a key stands with its certificate: `certs: [{ cert: FILE, key: FILE }]`",
        ),
    ],
};

pub(crate) static CERTS: Key = Key {
    name: "certs",
    shape: Shape::Certificates(&CERTIFICATE),
    absent: Absent::Mistake,
    doc: "The certificates with their chains and keys: a folder with files of them, or a list. In a list, a path alone \
          is a file that holds both certificate and key; the first is the default.",
    also: &[
        "crt",
        "crts",
        "certificate",
        "certificates",
        "ssl_certificate",
        "cert_file",
        "tls_certificates",
        "folder",
    ],
};

pub(crate) static MIN_VERSION: Key = Key {
    name: "min_version",
    shape: Shape::Word {
        words: TlsVersion::WORDS,
        later: &[],
    },
    absent: Absent::Value("1.2"),
    doc: "The oldest version of TLS that a client may speak.",
    also: &[
        "version",
        "versions",
        "protocols",
        "ssl_protocols",
        "ssl_min_ver",
        "tls_minimum_protocol_version",
    ],
};

pub(crate) static TLS_ALPN: Key = Key {
    name: "alpn",
    shape: Shape::Protocols,
    absent: Absent::Otherwise("none; with `http` h2 and http/1.1"),
    doc: "The protocols that it offers by ALPN, the preferred one first. A client that offers protocols, and none of \
          these, is refused. With `http` there are two: `h2` and `http/1.1`.",
    also: &["application_protocols", "alpn_protocols", "npn"],
};

pub(crate) static CLIENT_AUTH_KEY: Key = Key {
    name: "client_auth",
    shape: Shape::Block(&CLIENT_AUTH),
    absent: Absent::Otherwise("clients are not asked for a certificate"),
    doc: "Whose certificates clients show.",
    also: &[
        "verify",
        "mtls",
        "client_ca",
        "client_certificate",
        "ssl_verify_client",
        "ssl_client_certificate",
        "ca_file",
        "require_client_certificate",
    ],
};

pub(crate) static TICKET_KEYS: Key = Key {
    name: "ticket_keys",
    shape: Shape::FilePath,
    absent: Absent::Otherwise("random and rotated"),
    doc: "The file with the keys of session tickets, so that a client can go on at another node with the same file.",
    also: &[
        "tls_ticket_keys",
        "ssl_session_ticket_key",
        "session_ticket_keys",
        "tickets",
    ],
};

pub(crate) static UNKNOWN_NAME: Key = Key {
    name: "unknown_name",
    shape: Shape::Word {
        words: UnknownName::WORDS,
        later: &[],
    },
    absent: Absent::Value("default"),
    doc: "What a client gets that asks for a name without a certificate.",
    also: &[
        "strict_sni",
        "sni_strict",
        "ssl_reject_handshake",
        "default",
    ],
};

pub(crate) static CERTIFICATE: Block = Block {
    what: "certificate",
    path: "listeners.NAME.tls.certs[]",
    doc: "A certificate with its chain, and its key. The path alone of a file that holds both may stand for it.",
    keys: &[&CERTIFICATE_CERT, &CERTIFICATE_KEY],
    later: &[],
    elsewhere: &[],
};

pub(crate) static CERTIFICATE_CERT: Key = Key {
    name: "cert",
    shape: Shape::FilePath,
    absent: Absent::Mistake,
    doc: "The file with the certificate, followed by those that signed it.",
    also: ALSO_CERT,
};

pub(crate) static CERTIFICATE_KEY: Key = Key {
    name: "key",
    shape: Shape::FilePath,
    absent: Absent::Mistake,
    doc: "The file with the private key.",
    also: ALSO_KEY,
};

/// What other products call the file with a certificate.
pub(super) const ALSO_CERT: &[&str] = &[
    "crt",
    "certificate",
    "cert_file",
    "certfile",
    "certificate_chain",
    "ssl_certificate",
    "chain",
];

/// What other products call the file with a private key.
pub(super) const ALSO_KEY: &[&str] = &["private_key", "key_file", "keyfile", "ssl_certificate_key"];

pub(crate) static CLIENT_AUTH: Block = Block {
    what: "client_auth block",
    path: "listeners.NAME.tls.client_auth",
    doc: "Clients show certificates (mutual TLS).",
    keys: &[&CLIENT_AUTH_CA, &CLIENT_AUTH_MODE, &CLIENT_AUTH_CRL],
    later: &[],
    elsewhere: &[],
};

pub(crate) static CLIENT_AUTH_CA: Key = Key {
    name: "ca",
    shape: Shape::FilePath,
    absent: Absent::Mistake,
    doc: "The file with the authorities that may sign clients' certificates.",
    also: ALSO_CA,
};

/// What other products call the file with authorities.
pub(super) const ALSO_CA: &[&str] = &[
    "ca_file",
    "cafile",
    "cas",
    "trusted_ca",
    "trusted_certificate",
    "client_certificate",
    "roots",
    "root_ca",
];

pub(crate) static CLIENT_AUTH_MODE: Key = Key {
    name: "mode",
    shape: Shape::Word {
        words: ClientAuthMode::WORDS,
        later: &[],
    },
    absent: Absent::Value("require"),
    doc: "Whether a client may come without a certificate.",
    also: &["verify", "required", "type", "client_auth_type"],
};

pub(crate) static CLIENT_AUTH_CRL: Key = Key {
    name: "crl",
    shape: Shape::FilePath,
    absent: Absent::Otherwise("no certificate counts as revoked"),
    doc: "The file with the lists of certificates that were revoked.",
    also: &["crl_file", "crls", "revoked", "ssl_crl"],
};
