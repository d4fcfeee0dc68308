//! The closed lists of words that a key accepts: each list is one enum, and the same words are parsed, printed,
//! listed in mistakes, in the schema and in the reference. It never holds a word that Ringgate does not act on.

/// Declares an enum whose variants are the words of a key.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// Every value, in the order in which they are listed to the operator.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The words of the file, in the order of [`Self::ALL`].
            pub(crate) const WORDS: &'static [Word] = &[$(Word { text: $word, doc: concat!($($doc),+) }),+];

            /// The word in the file, on the command line, in the log and in a label.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value that `word` stands for; `None` when it is not in the list.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

/// One word of a list with its meaning.
#[derive(Debug)]
pub(crate) struct Word {
    /// As it is written in the file.
    pub(crate) text: &'static str,
    /// Its meaning in one sentence.
    pub(crate) doc: &'static str,
}

words! {
    /// How a pool chooses the server of a new connection.
    Balance {
        /// Each worker takes the servers in turn, each as often as its weight says.
        RoundRobin = "round_robin",
        /// The server with the fewest connections for its weight.
        LeastConn = "least_conn",
        /// The less busy of two servers drawn at random.
        P2c = "p2c",
        /// A server drawn at random, by weight.
        Random = "random",
    }
}

words! {
    /// How a worker talks to the kernel.
    Io {
        /// io_uring; epoll, with a warning that names the cause, when the kernel refuses it.
        Auto = "auto",
        /// io_uring; the start fails with the cause when the kernel refuses it.
        Uring = "uring",
        /// epoll, for hosts where io_uring is refused; it costs a little more.
        Epoll = "epoll",
    }
}

words! {
    /// The least severe event that the process log still shows.
    LogLevel {
        /// Only what stopped something from working.
        Error = "error",
        /// Also what will soon stop something from working.
        Warn = "warn",
        /// Also starts, stops and changes of state.
        Info = "info",
        /// Also what helps to follow one connection.
        Debug = "debug",
        /// Everything; slow.
        Trace = "trace",
    }
}

words! {
    /// The form of a log line.
    LogFormat {
        /// One JSON object per line.
        Json = "json",
        /// `key=value` pairs for people.
        Text = "text",
    }
}

words! {
    /// The oldest version of TLS that a client may speak.
    TlsVersion {
        /// TLS 1.2 (RFC 5246) and 1.3.
        V1_2 = "1.2",
        /// TLS 1.3 (RFC 8446) alone.
        V1_3 = "1.3",
    }
}

words! {
    /// Whether a client may come without a certificate.
    ClientAuthMode {
        /// It may not.
        Require = "require",
        /// It may; one that it shows must be good.
        Optional = "optional",
    }
}

words! {
    /// What a client gets that asks for a name without a certificate.
    UnknownName {
        /// The default certificate: the first of the list, or of the folder by file name.
        Default = "default",
        /// An alert, and no connection.
        Refuse = "refuse",
    }
}

words! {
    /// The version of the PROXY protocol that is sent to servers.
    ProxyVersion {
        /// One line of text with the addresses.
        V1 = "v1",
        /// Binary; also tells what is known of TLS.
        V2 = "v2",
    }
}

words! {
    /// An algorithm that signs tokens (RFC 7518 §3.1, RFC 8037 §3.1).
    Algorithm {
        /// ECDSA with the curve P-256.
        Es256 = "ES256",
        /// ECDSA with the curve P-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
        /// RSA-PSS with SHA-256.
        Ps256 = "PS256",
        /// RSA-PSS with SHA-384.
        Ps384 = "PS384",
        /// RSA-PSS with SHA-512.
        Ps512 = "PS512",
        /// RSA with SHA-256.
        Rs256 = "RS256",
        /// RSA with SHA-384.
        Rs384 = "RS384",
        /// RSA with SHA-512.
        Rs512 = "RS512",
        /// HMAC with SHA-256: a secret that both sides know.
        Hs256 = "HS256",
        /// HMAC with SHA-384: a secret that both sides know.
        Hs384 = "HS384",
        /// HMAC with SHA-512: a secret that both sides know.
        Hs512 = "HS512",
    }
}

impl Algorithm {
    /// Whether those who verify could sign as well, because they have the same secret.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}
