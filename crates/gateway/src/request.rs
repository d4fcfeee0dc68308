//! A request as a server gets it: what the client meant, in one form, without what was meant for us. It is written by
//! either version of HTTP as often as it is tried, and changes no more.

use http::{Method, Uri};

use crate::fields::{Field, Fields, Known, write_field};
use crate::head::Framing;
use crate::outgoing::Frame;
use crate::stream::map_of;
use crate::target;

/// A request for a server.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Canonical.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    /// With `host`, and without those of framing.
    pub(crate) fields: &'a Fields,
    pub(crate) framing: Framing,
    /// It may be made twice (RFC 9110 §9.2.2).
    pub(crate) is_idempotent: bool,
    /// The client waits for a word before it sends the body.
    pub(crate) expects_continue: bool,
    /// Both sides speak from the beginning, as with gRPC.
    pub(crate) is_dialogue: bool,
    /// The client takes trailers.
    pub(crate) takes_trailers: bool,
    /// The protocol to change to, if the server agrees.
    pub(crate) upgrade: Option<&'a [u8]>,
    /// The scheme that the client has used.
    pub(crate) scheme: &'static str,
}

impl Request<'_> {
    /// Writes the head by HTTP/1.1; how the body behind it is framed.
    pub(crate) fn write_head(&self, out: &mut Vec<u8>) -> Frame {
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        target::write(self.path, self.query, out);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.fields.write(out);
        let frame = match self.framing {
            Framing::None | Framing::UntilClose => {
                // A server may wait for a body that these methods have as a rule (RFC 9110 §8.6).
                if matches!(self.method, "POST" | "PUT" | "PATCH") {
                    write_field(out, "content-length", b"0");
                }
                Frame::Bare
            }
            Framing::Length(length) => {
                let mut digits = itoa::Buffer::new();
                write_field(out, "content-length", digits.format(length).as_bytes());
                Frame::Bare
            }
            Framing::Chunked => {
                write_field(out, "transfer-encoding", b"chunked");
                Frame::Chunks
            }
        };
        if self.expects_continue {
            write_field(out, "expect", b"100-continue");
        }
        out.extend_from_slice(b"\r\n");
        frame
    }

    /// The head by HTTP/2.
    pub(crate) fn as_http2(&self) -> http::Request<()> {
        let mut request = http::Request::new(());
        *request.method_mut() = Method::from_bytes(self.method.as_bytes()).unwrap_or(Method::GET);
        let mut path = Vec::with_capacity(self.path.len());
        target::write(self.path, self.query, &mut path);
        let host = self.fields.first(Known::Host).unwrap_or_default();
        let uri = Uri::builder()
            .scheme(self.scheme)
            .authority(host)
            .path_and_query(path)
            .build();
        *request.uri_mut() = uri.unwrap_or_default();
        let is_of_request =
            |field: &Field<'_>| field.known != Known::Host && !field.known.is_hop_by_hop();
        let fields = self.fields.iter().filter(is_of_request);
        *request.headers_mut() = map_of(fields);
        let fields = request.headers_mut();
        if let Framing::Length(length) = self.framing {
            fields.insert(http::header::CONTENT_LENGTH, length.into());
        }
        if self.takes_trailers {
            fields.insert(http::header::TE, http::HeaderValue::from_static("trailers"));
        }
        if self.expects_continue {
            let expected = http::HeaderValue::from_static("100-continue");
            fields.insert(http::header::EXPECT, expected);
        }
        *request.version_mut() = http::Version::HTTP_2;
        request
    }
}

/// Whether a method may be made twice (RFC 9110 §9.2.2).
pub(crate) fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE"
    )
}
