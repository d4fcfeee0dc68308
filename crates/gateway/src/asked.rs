//! What a request asks for: its head turned into one canonical host, path and client, or refused where two programs could
//! read it differently. Everything behind it looks at this and never at the raw bytes.

use std::net::IpAddr;

use ringgate_engine::plugin::{Guest, Reason};

use crate::fields::{Fields, Known};
use crate::flaw::Flaw;
use crate::forwarded::{
    ClientAddr, ConnectionOptions, RequestId, check_connection, client_of, request_id,
};
use crate::head::{Framing, Version};
use crate::host::{Host, Scheme};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::rules::Rules;
use crate::shelf::Shelf;
use crate::stage::Told;
use crate::target::Target;

/// What a request asks for.
pub(crate) struct Asked<'a> {
    pub(crate) version: Version,
    pub(crate) method: &'a str,
    pub(crate) target: Target<'a>,
    pub(crate) framing: Framing,
    /// The host as it is forwarded.
    pub(crate) host: String,
    /// Bytes of its name, without the port.
    host_name_len: usize,
    pub(crate) scheme: Scheme,
    pub(crate) client: ClientAddr,
    pub(crate) options: ConnectionOptions,
    pub(crate) expects_continue: bool,
    pub(crate) request_id: RequestId,
}

impl<'a> Asked<'a> {
    /// Reads a head: its version, method, target and framing, and its fields.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn read(
        guest: &Guest,
        rules: &Rules,
        shelf: &Shelf,
        record: &Record,
        told: &mut Told<'_>,
        (version, method, target, framing): (Version, &'a str, &'a str, Framing),
        fields: &Fields,
    ) -> Result<Self, Refusal> {
        record.note_method(method);
        let client = client_of(
            guest.peer().map(|peer| peer.ip()),
            guest.is_unix(),
            fields.all(Known::XForwardedFor),
            &rules.trusted,
        );
        if client.is_peer_trusted
            && let Some(address) = client.address
        {
            record.note_client(address);
        }
        let request_id = request_id(fields, client.is_peer_trusted, &mut shelf.ids.borrow_mut());
        record.note_id(&request_id);
        told.request_id = Some(request_id);
        if let Some(refusal) = refused_method(method) {
            return Err(refusal);
        }
        let target = match version {
            Version::V2 => Target::of_path(target.as_bytes(), method),
            _ => Target::parse(target.as_bytes(), method),
        };
        let target = target?;
        let scheme = match guest.tls() {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        };
        let host = host(fields, &target)?;
        if !guest.may_ask_for(&host.name) {
            // RFC 9110 §15.5.20
            return Err(Refusal::new(
                421,
                Reason::BadRequest,
                "this host is served on another connection",
            ));
        }
        let host_text = host.text().into_owned();
        record.note_target(&host_text, &target.path);
        let options = check_connection(fields)?;
        for known in [Known::Authorization, Known::Expect] {
            if fields.all(known).nth(1).is_some() {
                return Err(Refusal::bad(
                    "a field is given twice that may be there once",
                ));
            }
        }
        let expects_continue = expects_continue(version, framing, fields)?;
        told.expects_continue = expects_continue;
        Ok(Self {
            version,
            method,
            host_name_len: host.name.len(),
            target,
            framing,
            host: host_text,
            scheme,
            client,
            options,
            expects_continue,
            request_id,
        })
    }

    /// The name of the host, without its port.
    pub(crate) fn host_name(&self) -> &str {
        &self.host[..self.host_name_len]
    }

    /// The client's address.
    pub(crate) fn client_ip(&self) -> Option<IpAddr> {
        self.client.address
    }
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        let reason = match flaw.status() {
            414 => Reason::TooLarge,
            _ => Reason::BadRequest,
        };
        Self::new(flaw.status(), reason, flaw.text())
    }
}

fn refused_method(method: &str) -> Option<Refusal> {
    match method {
        "CONNECT" => Some(Refusal::new(
            501,
            Reason::BadRequest,
            "this is no proxy for CONNECT",
        )),
        "TRACE" => Some(
            Refusal::new(405, Reason::BadRequest, "TRACE is not passed on")
                .with("allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"),
        ),
        _ => None,
    }
}

/// The one host that a request names (RFC 9112 §3.2).
fn host<'f>(fields: &'f Fields, target: &Target<'_>) -> Result<Host<'f>, Refusal> {
    let mut hosts = fields.all(Known::Host);
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Refusal::bad("a request names exactly one host"));
    };
    let host = Host::parse(host)?;
    if let Some((named, absolute)) = &target.absolute
        && !absolute.is_same(&host, *named)
    {
        return Err(Refusal::bad("the target names another host than `Host`"));
    }
    Ok(host)
}

/// Whether the client waits before it sends its body (RFC 9110 §10.1.1).
fn expects_continue(version: Version, framing: Framing, fields: &Fields) -> Result<bool, Refusal> {
    match fields.first(Known::Expect) {
        None => Ok(false),
        Some(expected) if expected.eq_ignore_ascii_case(b"100-continue") => {
            Ok(version != Version::V1_0 && framing != Framing::None)
        }
        Some(_) => Err(Refusal::new(
            417,
            Reason::BadRequest,
            "only 100-continue can be expected",
        )),
    }
}
