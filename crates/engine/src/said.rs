//! What a connection says of itself before its bytes are relayed, kept for the log, for routes and for
//! servers that are told.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion};

use crate::proxy_protocol::{self, Addresses, ClientCertificate, Tlvs};
use crate::subject::Subject;
use crate::tls::Failure;

/// What a connection has said of itself.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The addresses that a PROXY header carried.
    pub(crate) carried: Option<Addresses>,
    /// The name it asks for.
    pub(crate) server_name: Option<Box<str>>,
    /// The protocol that was agreed on.
    pub(crate) alpn: Option<Box<[u8]>>,
    /// How TLS was ended, or why it was not.
    pub(crate) tls: Option<Encryption>,
    /// Whom the client's certificate is made out to.
    pub(crate) subject: Option<Subject>,
    /// The client has resumed a session.
    is_resumed: bool,
    /// How long the handshake took.
    pub(crate) handshake: Option<Duration>,
    /// The route that decided.
    pub(crate) route: Option<Arc<str>>,
    /// Bytes that were heard and are for the server.
    pub(crate) heard: RefCell<Vec<u8>>,
}

/// What became of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// It goes on to the server.
    PassedThrough,
    /// It is ended here.
    Ended {
        version: Version,
        cipher: &'static str,
    },
    Failed(Failure),
}

/// The versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1_2,
    V1_3,
}

impl Said {
    /// Notes what a handshake has shown.
    pub(crate) fn note(&mut self, connection: &rustls::Connection) {
        self.alpn = connection.alpn_protocol().map(Into::into);
        let own = connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        self.subject = own.and_then(Subject::of);
        self.is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        self.tls = Some(Encryption::Ended {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => Version::V1_2,
                _ => Version::V1_3,
            },
            cipher: connection
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default(),
        });
    }

    /// What a PROXY header tells a server besides addresses.
    pub(crate) fn tlvs(&self) -> Tlvs<'_> {
        Tlvs {
            authority: self.server_name.as_deref(),
            alpn: self.alpn.as_deref(),
            tls: match self.tls {
                Some(Encryption::Ended { version, cipher }) => Some(proxy_protocol::Tls {
                    version: match version {
                        Version::V1_2 => "TLSv1.2",
                        Version::V1_3 => "TLSv1.3",
                    },
                    cipher: Some(cipher),
                    client_certificate: self.subject.as_ref().map(|subject| ClientCertificate {
                        common_name: subject.common_name.as_deref(),
                        is_resumed: self.is_resumed,
                    }),
                }),
                _ => None,
            },
        }
    }
}

impl Encryption {
    /// The word in the log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::PassedThrough => "passthrough",
            Self::Ended { version, .. } => match version {
                Version::V1_2 => "1.2",
                Version::V1_3 => "1.3",
            },
            Self::Failed(failure) => failure.word(),
        }
    }
}
