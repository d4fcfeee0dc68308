//! The keys that say how connections to the servers of a pool are encrypted.

use super::tls::{ALSO_CA, ALSO_CERT, ALSO_KEY};
use crate::key::{Absent, Block, Key, Shape};

pub(crate) static SERVER_TLS: Block = Block {
    what: "tls block of a pool",
    path: "pools.NAME.tls",
    doc: "Connections to the servers are encrypted, and the certificates that servers show are verified: that an \
          authority in `ca` signed them, and that they are for `server_name`. All files are PEM.",
    keys: &[
        &SERVER_TLS_CA,
        &SERVER_TLS_NAME,
        &SERVER_TLS_CERT,
        &SERVER_TLS_KEY_FILE,
        &SERVER_TLS_ALPN,
        &VERIFY,
    ],
    later: &[],
    elsewhere: &[
        ("certs", "a pool shows one certificate: `cert` and `key`"),
        ("insecure", "`verify: false` leaves certificates unverified"),
        (
            "insecure_skip_verify",
            "`verify: false` leaves certificates unverified",
        ),
    ],
};

pub(crate) static SERVER_TLS_CA: Key = Key {
    name: "ca",
    shape: Shape::FilePath,
    absent: Absent::Otherwise("those that the system trusts"),
    doc: "The file with the authorities that may sign the servers' certificates.",
    also: ALSO_CA,
};

pub(crate) static SERVER_TLS_NAME: Key = Key {
    name: "server_name",
    shape: Shape::HostName,
    absent: Absent::Otherwise("the IP address of each server is verified, and no name asked for"),
    doc: "The name that is asked for by SNI and that certificates must be for. Servers at unix sockets need it, unless \
          `verify` is `false`.",
    also: &[
        "sni",
        "name",
        "servername",
        "host",
        "hostname",
        "verifyhost",
        "proxy_ssl_name",
    ],
};

pub(crate) static SERVER_TLS_CERT: Key = Key {
    name: "cert",
    shape: Shape::FilePath,
    absent: Absent::Otherwise("none is shown"),
    doc: "The file with the certificate that is shown to servers that ask for one, followed by those that signed it. \
          Only together with `key`.",
    also: ALSO_CERT,
};

pub(crate) static SERVER_TLS_KEY_FILE: Key = Key {
    name: "key",
    shape: Shape::FilePath,
    absent: Absent::Otherwise("none is shown"),
    doc: "The file with the private key of `cert`; it may be the same file.",
    also: ALSO_KEY,
};

pub(crate) static SERVER_TLS_ALPN: Key = Key {
    name: "alpn",
    shape: Shape::Protocols,
    absent: Absent::Otherwise("none"),
    doc: "The protocols that are offered to the servers by ALPN, the preferred one first.",
    also: &["application_protocols", "alpn_protocols", "protocols"],
};

pub(crate) static VERIFY: Key = Key {
    name: "verify",
    shape: Shape::Boolean,
    absent: Absent::Value("true"),
    doc: "Whether the servers' certificates are verified. `false` encrypts towards whoever answers; then `ca` means \
          nothing and may not be set.",
    also: &["proxy_ssl_verify", "verification", "validate", "check"],
};
