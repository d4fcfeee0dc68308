//! The stages that a request goes through before a server gets it, each a few lines: what it is called and when it comes
//! is in `lib.rs`, what it decides by lies in rooms of their own.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ringgate_config::{FieldChanges, LimitBy, PoolIndex};
use ringgate_engine::plugin::{Guest, PoolId, Reason, now};

use crate::aim;
use crate::asked::Asked;
use crate::auth::{Identity, Presented};
use crate::fields::{Fields, Known};
use crate::forwarded::{Facts, Received, RequestId, is_trust, prepare_request, prepare_response};
use crate::head::{Framing, ResponseHead, Version};
use crate::limit::{Key, Limiter, Verdict};
use crate::record::Record;
use crate::redirect::redirect_location;
use crate::refusal::Refusal;
use crate::request::{Request, is_idempotent};
use crate::rules::{Course, Rules};
use crate::shelf::Shelf;

/// What answers to this request say besides, whoever makes them.
#[derive(Default)]
pub(crate) struct Told<'a> {
    pub(crate) request_id: Option<RequestId>,
    /// The client may still wait before it sends its body.
    pub(crate) expects_continue: bool,
    /// What limits said to it.
    verdicts: Vec<(&'a Limiter, Verdict)>,
}

impl Told<'_> {
    /// Adds the fields to an answer.
    pub(crate) fn write(&self, fields: &mut Fields) {
        if self.verdicts.is_empty() {
            return;
        }
        fields.remove_if(|field| matches!(field.name, b"ratelimit-policy" | b"ratelimit"));
        self.list(fields, "ratelimit-policy", |limiter, _, out| {
            out.extend_from_slice(limiter.policy().as_bytes());
        });
        self.list(fields, "ratelimit", Limiter::write);
    }

    /// Adds a field with an item of each limit.
    fn list(
        &self,
        fields: &mut Fields,
        name: &str,
        write: impl Fn(&Limiter, &Verdict, &mut Vec<u8>),
    ) {
        fields.push_written(name, |out| {
            for (at, (limiter, verdict)) in self.verdicts.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b", ");
                }
                write(limiter, verdict, out);
            }
        });
    }
}

/// A request on its way through the stages.
pub(crate) struct Stage<'a, 'r: 'a> {
    guest: &'a Guest,
    shelf: &'a Shelf,
    record: &'a Record,
    rules: &'r Rules,
    asked: &'a Asked<'a>,
    course: &'r Course,
    path: std::borrow::Cow<'a, str>,
}

impl<'a, 'r: 'a> Stage<'a, 'r> {
    /// Finds what is done with the request: by its route, or by the listener's rules where none matches.
    pub(crate) fn find(
        guest: &'a Guest,
        rules: &'r Rules,
        shelf: &'a Shelf,
        record: &'a Record,
        asked: &'a Asked<'a>,
        fields: &Fields,
    ) -> Self {
        let found = match rules.routes.is_empty() {
            true => None,
            false => rules.routes.find(&aim::Asked {
                sni: guest.server_name(),
                client: asked.client_ip(),
                host: asked.host_name(),
                path: &asked.target.path,
                method: asked.method,
                fields,
                is_peer_trusted: asked.client.is_peer_trusted,
                query: asked.target.query,
            }),
        };
        let number = found.map_or(0, |route| route + 1);
        let course = &rules.courses[number];
        if let Some(name) = &course.name {
            record.note_route(number, name);
        }
        let path = &asked.target.path;
        let path = match &course.rewrite {
            None => path.as_ref().into(),
            Some(to) => aim::rewrite(aim::matching(&course.paths, path), to, path),
        };
        Self {
            guest,
            shelf,
            record,
            rules,
            asked,
            course,
            path,
        }
    }

    /// Sends the client elsewhere.
    pub(crate) fn redirect(&self) -> Result<(), Refusal> {
        let Some(redirect) = &self.course.redirect else {
            return Ok(());
        };
        let (host, target) = (&self.asked.host, &self.asked.target);
        let location = redirect_location(redirect, host, &target.path, target.query);
        let mut moved = Refusal::new(redirect.status, Reason::Done, "").with("location", location);
        let set = self.course.response_fields.set.iter();
        for (name, value) in set.filter(|(name, _)| name != "location") {
            moved = moved.with(name.clone(), value);
        }
        Err(moved)
    }

    /// Counts the request against the limits that need no consumer.
    pub(crate) fn limit_client(&self, fields: &Fields, told: &mut Told<'r>) -> Result<(), Refusal> {
        for limiter in &self.course.early_limits {
            let key = match limiter.by() {
                LimitBy::Header(name) => match self.one(fields, name)? {
                    Some(value) => Key::Field(value),
                    None => self.client_key(),
                },
                LimitBy::ClientIp | LimitBy::Consumer => self.client_key(),
            };
            self.limit(limiter, key, told)?;
        }
        Ok(())
    }

    /// Counts it against those of its consumer.
    pub(crate) fn limit_consumer(
        &self,
        identity: Option<&Identity>,
        told: &mut Told<'r>,
    ) -> Result<(), Refusal> {
        for limiter in &self.course.late_limits {
            let key = match identity {
                Some(identity) => Key::Consumer(&identity.consumer.name),
                None => self.client_key(),
            };
            self.limit(limiter, key, told)?;
        }
        Ok(())
    }

    /// The one value of a field that decides something; `None` also where a stranger may not say it.
    fn one<'f>(&self, fields: &'f Fields, name: &str) -> Result<Option<&'f [u8]>, Refusal> {
        let is_trusted = self.asked.client.is_peer_trusted;
        let mut values = fields
            .iter()
            .filter(|field| field.name == name.as_bytes())
            .filter(|field| is_trusted || !is_trust(*field));
        match (values.next(), values.next()) {
            (Some(field), None) => Ok(Some(field.value)),
            (None, _) => Ok(None),
            _ => Err(Refusal::bad(
                "a field is given twice that may be there once",
            )),
        }
    }

    fn client_key(&self) -> Key<'static> {
        // All clients of a unix socket are one: they are processes of this host.
        match self.asked.client_ip() {
            Some(address) => Key::Client(address),
            None => Key::Consumer(""),
        }
    }

    fn limit(
        &self,
        limiter: &'r Limiter,
        key: Key<'_>,
        told: &mut Told<'r>,
    ) -> Result<(), Refusal> {
        let verdict = limiter.admit(key, now());
        told.verdicts.push((limiter, verdict));
        if verdict.admitted {
            return Ok(());
        }
        let counters = self.rules.counters.of(self.guest.worker());
        counters.limited(self.record.route_number());
        let refusal = Refusal::new(429, Reason::RateLimited, "too many requests");
        Err(refusal.with("retry-after", verdict.seconds().to_string()))
    }

    /// Finds out whose request it is, where somebody has to say it.
    pub(crate) fn authenticate(&self, fields: &Fields) -> Result<Option<Identity>, Refusal> {
        let Some(guard) = &self.course.guard else {
            return Ok(None);
        };
        let certificate: Option<Arc<str>> = self.guest.subject().map(Into::into);
        let presented = Presented {
            authorization: fields.first(Known::Authorization),
            certificate: certificate.as_ref(),
        };
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = seconds.map_or(0, |passed| passed.as_secs());
        let mut memory = self.shelf.memory.borrow_mut();
        match guard.check(presented, seconds, &mut memory) {
            Ok(identity) => {
                self.record.note_consumer(&identity.consumer.name);
                Ok(Some(identity))
            }
            Err(denied) => {
                let counters = self.rules.counters.of(self.guest.worker());
                counters.denied(denied.word());
                self.record.note_denied(denied);
                if denied.is_ours() {
                    let detail = "nobody can be recognised now";
                    let refusal = Refusal::new(503, Reason::Unauthorized, detail);
                    return Err(refusal.with("retry-after", "1"));
                }
                let refusal = Refusal::new(401, Reason::Unauthorized, "show who you are");
                let challenges = guard.challenges(denied).into_iter();
                Err(challenges.fold(refusal, |refusal, challenge| {
                    refusal.with("www-authenticate", challenge)
                }))
            }
        }
    }

    /// Looks whether the consumer may.
    pub(crate) fn authorize(&self, identity: Option<&Identity>) -> Result<(), Refusal> {
        let required = &self.course.require;
        if required.is_empty() || identity.is_some_and(|identity| identity.has(required)) {
            return Ok(());
        }
        let counters = self.rules.counters.of(self.guest.worker());
        counters.denied("scope");
        let refusal = Refusal::new(403, Reason::Forbidden, "this needs other scopes");
        let guard = self.course.guard.as_ref();
        let challenge = guard.and_then(|guard| guard.insufficient(required));
        Err(match challenge {
            Some(challenge) => refusal.with("www-authenticate", challenge),
            None => refusal,
        })
    }

    /// Refuses a body that says it is larger than it may be.
    pub(crate) fn bound_body(&self) -> Result<(), Refusal> {
        match self.asked.framing {
            Framing::Length(length) if length > self.course.body_max => Err(Refusal::new(
                413,
                Reason::TooLarge,
                "the body of the request is too large",
            )),
            _ => Ok(()),
        }
    }

    /// The most bytes of a body that does not say how large it is.
    pub(crate) fn body_max(&self) -> u64 {
        self.course.body_max
    }

    /// Where it goes.
    pub(crate) fn pool(&self) -> Result<PoolId, Refusal> {
        let pool = match self.course.pools.as_slice() {
            [(alone, _)] => Some(*alone),
            [] => None,
            split => aim::pick(split, self.shelf.random()),
        };
        let PoolIndex(pool) =
            pool.ok_or(Refusal::new(404, Reason::NoRoute, "nothing is served here"))?;
        // A plan names fewer pools than that.
        Ok(PoolId(u16::try_from(pool).unwrap_or(u16::MAX)))
    }

    /// Makes of the client's fields those for the server.
    pub(crate) fn prepare(&self, identity: Option<&Identity>, fields: &mut Fields) {
        let asked = self.asked;
        let facts = Facts {
            received: match asked.version {
                Version::V1_0 => Received::Http10,
                Version::V1_1 => Received::Http11,
                Version::V2 => Received::Http2,
            },
            scheme: asked.scheme,
            host: &asked.host,
            port: self.guest.port(),
            peer: self.guest.peer().map(|peer| peer.ip()),
            is_peer_trusted: asked.client.is_peer_trusted,
            request_id: asked.request_id.as_bytes(),
            consumer: identity.map(|identity| &*identity.consumer.name),
            is_authorization_ours: identity.is_some_and(|identity| identity.consumed),
            options: self.options(),
        };
        prepare_request(fields, &facts);
        fields.remove_if(|field| matches!(field.known, Known::ContentLength | Known::Expect));
        change(&self.course.request_fields, fields);
    }

    /// What the client says of its connection; only what has no body and is HTTP/1.1 can change to another protocol.
    fn options(&self) -> crate::forwarded::ConnectionOptions {
        let mut options = self.asked.options;
        let may_upgrade =
            self.asked.version == Version::V1_1 && self.asked.framing == Framing::None;
        options.upgrade = options.upgrade && may_upgrade;
        options
    }

    /// The request for a server, with these fields.
    pub(crate) fn request<'f>(&'f self, fields: &'f Fields) -> Request<'f> {
        let asked = self.asked;
        let mut kinds = fields.named("content-type");
        Request {
            method: asked.method,
            path: &self.path,
            query: asked.target.query,
            fields,
            framing: asked.framing,
            is_idempotent: is_idempotent(asked.method),
            expects_continue: asked.expects_continue,
            is_dialogue: asked.version == Version::V2
                && kinds.any(|kind| kind.starts_with(b"application/grpc")),
            takes_trailers: asked.options.te_trailers,
            upgrade: fields.first(Known::Upgrade),
            scheme: asked.scheme.word(),
        }
    }

    /// Makes of a server's fields those for the client.
    pub(crate) fn prepare_answer(&self, told: &Told<'_>, head: &mut ResponseHead) {
        let fields = &mut head.fields;
        let id = self.asked.request_id.as_bytes();
        let is_upgrade = head.status == 101;
        self.shelf
            .with_date(|date| prepare_response(fields, id, date, is_upgrade));
        change(&self.course.response_fields, fields);
        told.write(fields);
    }
}

/// Sets and removes fields.
fn change(changes: &FieldChanges, fields: &mut Fields) {
    for name in &changes.remove {
        fields.remove(name);
    }
    for (name, value) in &changes.set {
        fields.set(name, value.as_bytes());
    }
}
