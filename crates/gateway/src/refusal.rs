//! Why a request gets no answer of a server: the status and the words that the client, the log and the metrics get. It
//! names facts; how they are told is `respond.rs`.

use std::borrow::Cow;

use ringgate_engine::plugin::Reason;

/// A request that is not answered by a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// The word in log and metrics.
    pub reason: Reason,
    /// What is wrong, for the client: it says nothing about servers or keys.
    pub detail: &'static str,
    /// Fields of the answer besides the usual ones.
    pub fields: Vec<(Cow<'static, str>, String)>,
}

impl Refusal {
    /// One without fields of its own.
    pub const fn new(status: u16, reason: Reason, detail: &'static str) -> Self {
        Self {
            status,
            reason,
            detail,
            fields: Vec::new(),
        }
    }

    /// A request that does not keep to HTTP, or asks for what nobody may.
    pub const fn bad(detail: &'static str) -> Self {
        Self::new(400, Reason::BadRequest, detail)
    }

    /// A server's failure.
    pub const fn of_server(reason: Reason) -> Self {
        let (status, detail) = match reason {
            Reason::ResponseTimeout => (504, "the server did not answer in time"),
            Reason::NoServer => (503, "no server is available"),
            Reason::HoldTimeout => (503, "no server became available in time"),
            Reason::HoldFull => (503, "too many requests wait for a server"),
            Reason::Overload => (503, "the gateway is out of room"),
            Reason::BadResponse => (502, "the server's answer could not be used"),
            Reason::ServerReset => (502, "the server broke the connection off"),
            _ => (502, "the server could not be reached"),
        };
        Self::new(status, reason, detail)
    }

    /// The same with one more field.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }
}
