//! What a signed token claims, held against what the configuration wants (RFC 7519 §4). Its signature has been verified
//! before; a claim of the wrong type is never taken for one that is missing.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use ringgate_config::Jwt;
use serde_json::{Map, Value};

use super::keys::named;
use super::{Consumer, Denied};

/// The longest name of a consumer, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// The most scopes of a token, and the longest one.
const SCOPES_MAX: usize = 256;
const SCOPE_BYTES_MAX: usize = 256;

/// Which tokens are believed.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    audience: Vec<String>,
    leeway: f64,
    consumer_claim: String,
    scope_claim: String,
}

/// What a believed token says.
#[derive(Debug)]
pub(super) struct Believed {
    pub(super) consumer: Arc<Consumer>,
    /// The second since 1970 from which on it is believed no more.
    pub(super) until: u64,
}

impl Rules {
    pub(super) fn of(jwt: &Jwt) -> Rules {
        Rules {
            algorithms: jwt
                .algorithms
                .iter()
                .filter_map(|name| named(name))
                .collect(),
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
            leeway: Duration::from_secs(jwt.leeway.as_secs()).as_secs_f64(),
            consumer_claim: jwt.consumer_claim.clone(),
            scope_claim: jwt.scope_claim.clone(),
        }
    }

    /// Whether the claims are to be believed at this second.
    pub(super) fn judge(&self, claims: &Map<String, Value>, now: u64) -> Result<Believed, Denied> {
        let now = now as f64;
        let end = number(claims, "exp")?.ok_or(Denied::Claims)? + self.leeway;
        if now >= end {
            return Err(Denied::Expired);
        }
        for begin in ["nbf", "iat"] {
            if number(claims, begin)?.is_some_and(|begin| now < begin - self.leeway) {
                return Err(Denied::NotYetValid);
            }
        }
        self.judge_issuer(claims.get("iss"))?;
        self.judge_audience(claims.get("aud"))?;
        let name = claims.get(&self.consumer_claim);
        let name = name.and_then(Value::as_str).filter(|name| is_name(name));
        let scopes = scopes(claims.get(&self.scope_claim))?;
        Ok(Believed {
            consumer: Arc::new(Consumer::new(name.ok_or(Denied::Claims)?, scopes)),
            // What is beyond the last second is taken for it.
            until: end.ceil() as u64,
        })
    }

    fn judge_issuer(&self, issuer: Option<&Value>) -> Result<(), Denied> {
        let issuer = match issuer {
            None => None,
            Some(Value::String(issuer)) => Some(issuer),
            Some(_) => return Err(Denied::Claims),
        };
        match self.issuer.is_none() || issuer == self.issuer.as_ref() {
            true => Ok(()),
            false => Err(Denied::Issuer),
        }
    }

    fn judge_audience(&self, audience: Option<&Value>) -> Result<(), Denied> {
        let audience: Vec<&str> = match audience {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(list)) => strings(list)?,
            Some(_) => return Err(Denied::Claims),
        };
        let is_ours = |one: &&str| self.audience.iter().any(|own| own == one);
        match self.audience.is_empty() || audience.iter().any(is_ours) {
            true => Ok(()),
            false => Err(Denied::Audience),
        }
    }
}

/// A claim that is a time, in seconds since 1970 (RFC 7519 §2, NumericDate).
fn number(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Denied> {
    let Some(claim) = claims.get(name) else {
        return Ok(None);
    };
    let number = claim.as_f64().filter(|number| number.is_finite());
    number.map(Some).ok_or(Denied::Claims)
}

fn strings(list: &[Value]) -> Result<Vec<&str>, Denied> {
    let strings: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    strings.ok_or(Denied::Claims)
}

/// The name goes into a field of the request and into the log.
fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn scopes(claim: Option<&Value>) -> Result<Box<[Box<str>]>, Denied> {
    let scopes: Vec<&str> = match claim {
        None => Vec::new(),
        Some(Value::String(words)) => words.split(' ').filter(|word| !word.is_empty()).collect(),
        Some(Value::Array(list)) => strings(list)?,
        Some(_) => return Err(Denied::Claims),
    };
    let is_scope = |scope: &&str| {
        (1..=SCOPE_BYTES_MAX).contains(&scope.len())
            && scope.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match scopes.len() <= SCOPES_MAX && scopes.iter().all(is_scope) {
        true => Ok(scopes.into_iter().map(Into::into).collect()),
        false => Err(Denied::Claims),
    }
}
