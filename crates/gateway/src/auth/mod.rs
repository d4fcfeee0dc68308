//! Who a request comes from, by what it presents: a static token, a signed one, a name with a password, or the certificate
//! of its connection. Pure: it opens no file and no socket and has no clock; whoever reads files and fetches keys puts
//! them into the handles that a guard looks at.

mod claims;
mod denied;
mod flaw;
mod json;
mod jwt;
mod keys;
mod memory;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod users;

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringgate_config::Auth;

use self::claims::Rules;
use self::memory::{Generation, Stamp};

pub use self::denied::Denied;
pub use self::flaw::{FILE_BYTES_MAX, Flaw, is_name, is_scope};
pub use self::jwt::TOKEN_BYTES_MAX;
pub use self::keys::{KEYS_BYTES_MAX, KeyRing, Keys, Parsed};
pub use self::memory::Memory;
pub use self::tokens::Tokens;
pub use self::users::Users;

/// A name, a colon and a password at their longest, as base64 writes them.
const BASIC_BYTES_MAX: usize = (64 + 1 + users::PASSWORD_BYTES_MAX).div_ceil(3) * 4;

/// Somebody who is known.
#[derive(Debug, PartialEq, Eq)]
pub struct Consumer {
    /// By this name, in log, limits and the field for the server. Visible ASCII, but for the subject of a certificate.
    pub name: Arc<str>,
    /// What it may do.
    pub scopes: Box<[Box<str>]>,
}

impl Consumer {
    fn new(name: &str, scopes: Box<[Box<str>]>) -> Consumer {
        Consumer {
            name: name.into(),
            scopes,
        }
    }
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who. One count of references: a copy for a request costs as little as can be.
    pub consumer: Arc<Consumer>,
    /// The field `Authorization` showed it, and is not forwarded.
    pub consumed: bool,
}

impl Identity {
    /// Whether all of these scopes are among its own.
    pub fn has(&self, required: &[impl AsRef<str>]) -> bool {
        let own = &self.consumer.scopes;
        required
            .iter()
            .all(|scope| own.iter().any(|own| **own == *scope.as_ref()))
    }
}

/// What a request shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presented<'a> {
    /// The value of its one field `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// The subject of the certificate that its connection's TLS has verified.
    pub certificate: Option<&'a Arc<str>>,
}

/// Where what a guard looks at is put; each of the ways of its configuration, and no other.
#[derive(Clone, Debug, Default)]
pub struct Handles {
    /// The tokens of the file, as they are now.
    pub tokens: Option<Arc<ArcSwap<Tokens>>>,
    /// The users of the file, as they are now.
    pub users: Option<Arc<ArcSwap<Users>>>,
    /// The keys of signed tokens.
    pub keys: Option<Arc<KeyRing>>,
}

/// Decides who requests come from, in one of the ways of the configuration. Shared by all workers.
#[derive(Debug)]
pub struct Guard {
    id: Generation,
    tokens: Option<Arc<ArcSwap<Tokens>>>,
    users: Option<Arc<ArcSwap<Users>>>,
    jwt: Option<(Rules, Arc<KeyRing>)>,
    client_certificate: bool,
    /// As a quoted string, with its quotes.
    realm: String,
}

impl Guard {
    /// The guard of this configuration.
    pub fn new(auth: &Auth, handles: Handles) -> Guard {
        let rules = auth.jwt.as_ref().map(Rules::of);
        Guard {
            id: Generation::next(),
            tokens: handles.tokens,
            users: handles.users,
            jwt: rules.zip(handles.keys),
            client_certificate: auth.client_certificate,
            realm: quoted(&auth.realm),
        }
    }

    /// Who a request comes from, at this second since 1970. A credential of a way that is asked for must be good, even
    /// where another one would be enough.
    ///
    /// # Errors
    /// Why nobody is recognised.
    pub fn check(
        &self,
        presented: Presented<'_>,
        now: u64,
        memory: &mut Memory,
    ) -> Result<Identity, Denied> {
        let by_field = match presented.authorization {
            Some(value) if self.asks_for_a_field() => self.field(value, now, memory),
            _ => Err(Denied::Missing),
        };
        match by_field {
            Ok(consumer) => Ok(Identity {
                consumer,
                consumed: true,
            }),
            // A field that says nothing to us is for the server.
            Err(denied @ (Denied::Missing | Denied::Scheme)) => {
                let subject = presented.certificate.filter(|_| self.client_certificate);
                let consumer = |subject: &Arc<str>| Consumer {
                    name: Arc::clone(subject),
                    scopes: [].into(),
                };
                let consumer = Arc::new(subject.map(consumer).ok_or(denied)?);
                Ok(Identity {
                    consumer,
                    consumed: false,
                })
            }
            Err(denied) => Err(denied),
        }
    }

    /// The values of `WWW-Authenticate` in the answer to a request that was denied: one for each way (RFC 9110 §11.6.1).
    pub fn challenges(&self, denied: Denied) -> Vec<String> {
        let realm = &self.realm;
        let mut challenges = Vec::new();
        if self.takes_bearers() {
            let error = match denied.is_of_token() {
                true => ", error=\"invalid_token\"",
                false => "",
            };
            challenges.push(format!("Bearer realm={realm}{error}"));
        }
        if self.users.is_some() {
            challenges.push(format!("Basic realm={realm}, charset=\"UTF-8\""));
        }
        if challenges.is_empty() {
            // No registered scheme stands for a certificate, and a 401 must have one.
            challenges.push(format!("ClientCertificate realm={realm}"));
        }
        challenges
    }

    /// The value of `WWW-Authenticate` in the answer to a consumer that lacks one of these scopes (RFC 6750 §3.1); `None`
    /// where no token is asked for.
    pub fn insufficient(&self, required: &[impl AsRef<str>]) -> Option<String> {
        let scopes: Vec<&str> = required.iter().map(AsRef::as_ref).collect();
        let (realm, scopes) = (&self.realm, quoted(&scopes.join(" ")));
        self.takes_bearers()
            .then(|| format!("Bearer realm={realm}, error=\"insufficient_scope\", scope={scopes}"))
    }

    fn takes_bearers(&self) -> bool {
        self.tokens.is_some() || self.jwt.is_some()
    }

    fn asks_for_a_field(&self) -> bool {
        self.takes_bearers() || self.users.is_some()
    }

    fn field(&self, value: &[u8], now: u64, memory: &mut Memory) -> Result<Arc<Consumer>, Denied> {
        if self.takes_bearers()
            && let Some(token) = credentials(value, b"bearer")
        {
            return self.bearer(token, now, memory);
        }
        match (&self.users, credentials(value, b"basic")) {
            (Some(users), Some(encoded)) => self.basic(&users.load(), encoded, now, memory),
            _ => Err(Denied::Scheme),
        }
    }

    /// What costs least comes first: a signed token that is remembered, then the static ones, then a signature.
    fn bearer(&self, token: &[u8], now: u64, memory: &mut Memory) -> Result<Arc<Consumer>, Denied> {
        let jwt = self
            .jwt
            .as_ref()
            .map(|(rules, ring)| (rules, ring, ring.load()));
        if let Some((_, _, keys)) = &jwt {
            let stamp = self.stamp(keys.generation);
            if let Some(consumer) = memory.token(stamp, token, now) {
                return Ok(Arc::clone(consumer));
            }
        }
        if let Some(tokens) = &self.tokens
            && let Some(consumer) = tokens.load().find(token)
        {
            return Ok(Arc::clone(consumer));
        }
        if token.is_empty() || !token.iter().copied().all(is_of_tokens) {
            return Err(Denied::Malformed);
        }
        if self.tokens.is_some() && !token.contains(&b'.') {
            return Err(Denied::UnknownToken);
        }
        let (rules, ring, keys) = jwt.ok_or(Denied::UnknownToken)?;
        let believed = jwt::verify(token, rules, ring, &keys, now)?;
        let stamp = self.stamp(keys.generation);
        memory.keep_token(stamp, token, &believed.consumer, believed.until);
        Ok(believed.consumer)
    }

    /// RFC 7617 §2, with what follows for UTF-8. Nothing is normalised: what a client sends is what is hashed.
    fn basic(
        &self,
        users: &Users,
        encoded: &[u8],
        now: u64,
        memory: &mut Memory,
    ) -> Result<Arc<Consumer>, Denied> {
        if encoded.len() > BASIC_BYTES_MAX {
            return Err(Denied::MalformedBasic);
        }
        let decoded = STANDARD
            .decode(encoded)
            .map_err(|_| Denied::MalformedBasic)?;
        let credentials = std::str::from_utf8(&decoded).map_err(|_| Denied::MalformedBasic)?;
        let (name, password) = credentials.split_once(':').ok_or(Denied::MalformedBasic)?;
        let is_bad = name.is_empty() || credentials.chars().any(char::is_control);
        if is_bad || password.len() > users::PASSWORD_BYTES_MAX {
            return Err(Denied::MalformedBasic);
        }
        let stamp = self.stamp(users.generation);
        let mark = memory.mark(&decoded);
        let known = mark
            .as_ref()
            .and_then(|mark| memory.password(stamp, mark, now));
        if let Some(verdict) = known {
            return verdict.cloned().ok_or(Denied::Password);
        }
        let user = users.get(name);
        if !memory.may_spend(user.iterations(), now) {
            return Err(Denied::Busy);
        }
        let verdict = user.verify(password.as_bytes());
        if let Some(mark) = &mark {
            memory.keep_password(stamp, mark, verdict, now);
        }
        verdict.cloned().ok_or(Denied::Password)
    }

    fn stamp(&self, source: Generation) -> Stamp {
        Stamp {
            guard: self.id,
            source,
        }
    }
}

/// What follows this scheme, in small letters here and in any there (RFC 9110 §11.1); empty where nothing does.
fn credentials<'a>(value: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (own, rest) = value.split_at_checked(scheme.len())?;
    match rest.split_first() {
        _ if !own.eq_ignore_ascii_case(scheme) => None,
        None => Some(rest),
        Some((b' ', credentials)) => Some(credentials),
        Some(_) => None,
    }
}

/// Whether a byte may stand in a bearer token (RFC 6750 §2.1, which only lacks what others write too).
fn is_of_tokens(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',')
}

/// A quoted string of a field's value (RFC 9110 §5.6.4).
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars().filter(|character| !character.is_control()) {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}
