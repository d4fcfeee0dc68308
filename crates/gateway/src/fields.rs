//! The fields of a head (RFC 9110 §5), in one flat buffer: names in lower case, values as they came, in their order.
//! It checks nothing: what is put in was checked by the codec that read it.

use std::ops::Range;

/// The fields whose meaning the gateway knows; found without comparing names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Known {
    /// Any other.
    Other,
    /// `authorization` (RFC 9110 §11.6.2).
    Authorization,
    /// `connection` (RFC 9110 §7.6.1).
    Connection,
    /// `content-length` (RFC 9110 §8.6).
    ContentLength,
    /// `cookie` (RFC 6265 §5.4).
    Cookie,
    /// `date` (RFC 9110 §6.6.1).
    Date,
    /// `expect` (RFC 9110 §10.1.1).
    Expect,
    /// `forwarded` (RFC 7239).
    Forwarded,
    /// `host` (RFC 9110 §7.2).
    Host,
    /// `http2-settings` (RFC 7540 §3.2.1).
    Http2Settings,
    /// `keep-alive` (RFC 2068 §19.7.1).
    KeepAlive,
    /// `proxy`, which CGI turns into `HTTP_PROXY` (CVE-2016-5385).
    Proxy,
    /// `proxy-authenticate` (RFC 9110 §11.7.1).
    ProxyAuthenticate,
    /// `proxy-authorization` (RFC 9110 §11.7.2).
    ProxyAuthorization,
    /// `proxy-connection`, which was never standardized.
    ProxyConnection,
    /// `te` (RFC 9110 §10.1.4).
    Te,
    /// `trailer` (RFC 9110 §6.6.2).
    Trailer,
    /// `transfer-encoding` (RFC 9112 §6.1).
    TransferEncoding,
    /// `upgrade` (RFC 9110 §7.8).
    Upgrade,
    /// `x-consumer`: the consumer's name, ours to set.
    XConsumer,
    /// `x-forwarded-for`.
    XForwardedFor,
    /// `x-forwarded-host`.
    XForwardedHost,
    /// `x-forwarded-port`.
    XForwardedPort,
    /// `x-forwarded-proto`.
    XForwardedProto,
    /// `x-original-url`: some servers take it for the target.
    XOriginalUrl,
    /// `x-http-method-override` and its like: another method than the one that was judged.
    XMethodOverride,
    /// `x-request-id`.
    XRequestId,
    /// `x-rewrite-url`: some servers take it for the target.
    XRewriteUrl,
}

impl Known {
    /// What a name in lower case is known as.
    pub fn of(name: &[u8]) -> Self {
        match (name.len(), name) {
            (2, b"te") => Self::Te,
            (4, b"host") => Self::Host,
            (4, b"date") => Self::Date,
            (5, b"proxy") => Self::Proxy,
            (6, b"cookie") => Self::Cookie,
            (6, b"expect") => Self::Expect,
            (7, b"trailer") => Self::Trailer,
            (7, b"upgrade") => Self::Upgrade,
            (9, b"forwarded") => Self::Forwarded,
            (10, b"connection") => Self::Connection,
            (10, b"keep-alive") => Self::KeepAlive,
            (10, b"x-consumer") => Self::XConsumer,
            (12, b"x-request-id") => Self::XRequestId,
            (13, b"x-rewrite-url") => Self::XRewriteUrl,
            (13, b"x-http-method")
            | (17, b"x-method-override")
            | (22, b"x-http-method-override") => Self::XMethodOverride,
            (14, b"x-original-url") => Self::XOriginalUrl,
            (16, b"x-forwarded-host") => Self::XForwardedHost,
            (16, b"x-forwarded-port") => Self::XForwardedPort,
            (17, b"x-forwarded-proto") => Self::XForwardedProto,
            (13, b"authorization") => Self::Authorization,
            (14, b"content-length") => Self::ContentLength,
            (14, b"http2-settings") => Self::Http2Settings,
            (15, b"x-forwarded-for") => Self::XForwardedFor,
            (16, b"proxy-connection") => Self::ProxyConnection,
            (17, b"transfer-encoding") => Self::TransferEncoding,
            (18, b"proxy-authenticate") => Self::ProxyAuthenticate,
            (19, b"proxy-authorization") => Self::ProxyAuthorization,
            _ => Self::Other,
        }
    }

    /// The name in lower case; of several, the most usual. [`Known::Other`] has none.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "",
            Self::Authorization => "authorization",
            Self::Connection => "connection",
            Self::ContentLength => "content-length",
            Self::Cookie => "cookie",
            Self::Date => "date",
            Self::Expect => "expect",
            Self::Forwarded => "forwarded",
            Self::Host => "host",
            Self::Http2Settings => "http2-settings",
            Self::KeepAlive => "keep-alive",
            Self::Proxy => "proxy",
            Self::ProxyAuthenticate => "proxy-authenticate",
            Self::ProxyAuthorization => "proxy-authorization",
            Self::ProxyConnection => "proxy-connection",
            Self::Te => "te",
            Self::Trailer => "trailer",
            Self::TransferEncoding => "transfer-encoding",
            Self::Upgrade => "upgrade",
            Self::XConsumer => "x-consumer",
            Self::XForwardedFor => "x-forwarded-for",
            Self::XForwardedHost => "x-forwarded-host",
            Self::XForwardedPort => "x-forwarded-port",
            Self::XForwardedProto => "x-forwarded-proto",
            Self::XOriginalUrl => "x-original-url",
            Self::XMethodOverride => "x-http-method-override",
            Self::XRequestId => "x-request-id",
            Self::XRewriteUrl => "x-rewrite-url",
        }
    }

    /// Whether it speaks of one connection only and is never passed on (RFC 9110 §7.6.1).
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::Http2Settings
                | Self::KeepAlive
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::ProxyConnection
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// What it is known as.
    pub known: Known,
    /// ASCII in lower case.
    pub name: &'a [u8],
    /// Without white space around it.
    pub value: &'a [u8],
}

/// The fields of one head.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// Each as HTTP/1 writes it (RFC 9112 §5): `name: value` and the end of the line.
    lines: Vec<u8>,
    list: Vec<Entry>,
}

/// Where a field lies among the lines.
#[derive(Clone, Copy, Debug)]
struct Entry {
    known: Known,
    removed: bool,
    name_len: u16,
    start: u32,
    value_len: u32,
}

/// Between name and value.
const COLON: &[u8] = b": ";

/// Behind the value.
const END: &[u8] = b"\r\n";

impl Entry {
    fn name(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + usize::from(self.name_len)
    }

    fn value(self) -> Range<usize> {
        let start = self.name().end + COLON.len();
        start..start + self.value_len as usize
    }

    fn line(self) -> Range<usize> {
        self.start as usize..self.value().end + END.len()
    }
}

impl Fields {
    /// Bytes of the longest name that is kept; a longer one is cut, which no codec lets through.
    pub const NAME_BYTES_MAX: usize = u16::MAX as usize;

    /// Forgets all and keeps the room.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.list.clear();
    }

    /// Bytes that are kept for it.
    pub fn room(&self) -> usize {
        self.lines.capacity() + self.list.capacity() * size_of::<Entry>()
    }

    /// Adds a field behind the others. The name is ASCII.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.push_written(name, |out| out.extend_from_slice(value));
    }

    /// Adds a field behind the others, whose value is what `write` appends. The name is ASCII.
    pub fn push_written(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.lines.len();
        let name = &name.as_bytes()[..name.len().min(Self::NAME_BYTES_MAX)];
        self.lines.extend_from_slice(name);
        let name = &mut self.lines[start..];
        name.make_ascii_lowercase();
        let known = Known::of(name);
        self.end_line(known, start, write);
    }

    /// Adds a known field behind the others.
    pub fn add(&mut self, known: Known, value: &[u8]) {
        let start = self.lines.len();
        self.lines.extend_from_slice(known.name().as_bytes());
        self.end_line(known, start, |out| out.extend_from_slice(value));
    }

    /// Completes the line whose name has been written.
    fn end_line(&mut self, known: Known, start: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let lines = &mut self.lines;
        let name_len = lines.len() - start;
        lines.extend_from_slice(COLON);
        let value = lines.len();
        write(lines);
        let value_len = lines.len().saturating_sub(value);
        lines.extend_from_slice(END);
        self.list.push(Entry {
            known,
            removed: false,
            name_len: name_len as u16,
            start: start as u32,
            value_len: value_len as u32,
        });
    }

    /// Replaces all fields of that name, which is in lower case, by one.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.push(name, value);
    }

    /// Removes all fields of that name, which is in lower case.
    pub fn remove(&mut self, name: &str) {
        self.remove_if(|field| field.name == name.as_bytes());
    }

    /// Removes all fields for which `unwanted` holds.
    pub fn remove_if(&mut self, mut unwanted: impl FnMut(Field<'_>) -> bool) {
        for entry in &mut self.list {
            entry.removed = entry.removed || unwanted(field(&self.lines, *entry));
        }
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        let kept = self.list.iter().filter(|entry| !entry.removed);
        kept.map(|entry| field(&self.lines, *entry))
    }

    /// The values of a known field, in their order.
    pub fn all(&self, known: Known) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        let wanted = move |entry: &&Entry| entry.known == known && !entry.removed;
        let kept = self.list.iter().filter(wanted);
        kept.map(|entry| &self.lines[entry.value()])
    }

    /// The first value of a known field.
    pub fn first(&self, known: Known) -> Option<&[u8]> {
        self.all(known).next()
    }

    /// The values of a field by its name in lower case, in their order.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + Clone {
        let of = self
            .iter()
            .filter(move |field| field.name == name.as_bytes());
        of.map(|field| field.value)
    }

    /// Whether there is such a field.
    pub fn has(&self, known: Known) -> bool {
        self.first(known).is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Writes them as HTTP/1 does, without the empty line at the end.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_if(out, |_| true);
    }

    /// Writes those that are wanted.
    pub fn write_if(&self, out: &mut Vec<u8>, is_wanted: impl Fn(Known) -> bool) {
        // Lines that lie behind each other go together.
        let mut run = 0..0;
        for entry in &self.list {
            if entry.removed || !is_wanted(entry.known) {
                continue;
            }
            let line = entry.line();
            if line.start != run.end {
                out.extend_from_slice(&self.lines[run.clone()]);
                run.start = line.start;
            }
            run.end = line.end;
        }
        out.extend_from_slice(&self.lines[run]);
    }
}

/// Writes one field as HTTP/1 does.
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(COLON);
    out.extend_from_slice(value);
    out.extend_from_slice(END);
}

fn field<'a>(lines: &'a [u8], entry: Entry) -> Field<'a> {
    Field {
        known: entry.known,
        name: &lines[entry.name()],
        value: &lines[entry.value()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_keep_their_order_and_are_found_by_name() {
        let mut fields = Fields::default();
        fields.push("Host", b"a");
        fields.push("X-One", b"1");
        fields.push("x-one", b"2");
        assert_eq!(shown(&fields), "host: a\r\nx-one: 1\r\nx-one: 2\r\n");
        assert_eq!(fields.first(Known::Host), Some(&b"a"[..]));
        assert_eq!(fields.named("x-one").count(), 2);
        fields.set("x-one", b"3");
        assert_eq!(shown(&fields), "host: a\r\nx-one: 3\r\n");
        fields.remove_if(|field| field.known == Known::Host);
        assert_eq!((fields.len(), fields.has(Known::Host)), (1, false));
    }

    #[test]
    fn a_known_field_is_known_by_its_name() {
        let mut fields = Fields::default();
        for known in [
            Known::Authorization,
            Known::Connection,
            Known::ContentLength,
            Known::Cookie,
            Known::Date,
            Known::Expect,
            Known::Forwarded,
            Known::Host,
            Known::Http2Settings,
            Known::KeepAlive,
            Known::Proxy,
            Known::ProxyAuthenticate,
            Known::ProxyAuthorization,
            Known::ProxyConnection,
            Known::Te,
            Known::Trailer,
            Known::TransferEncoding,
            Known::Upgrade,
            Known::XConsumer,
            Known::XForwardedFor,
            Known::XForwardedHost,
            Known::XForwardedPort,
            Known::XForwardedProto,
            Known::XOriginalUrl,
            Known::XMethodOverride,
            Known::XRequestId,
            Known::XRewriteUrl,
        ] {
            assert_eq!(Known::of(known.name().as_bytes()), known);
            fields.add(known, b"1");
            assert_eq!(fields.first(known), Some(&b"1"[..]));
        }
    }

    #[test]
    fn whatever_is_removed_or_unwanted_the_rest_is_written_field_by_field() {
        let names = ["host", "a", "te", "b", "c"];
        for removed in 0..1_u32 << names.len() {
            let mut fields = Fields::default();
            for (at, name) in names.iter().enumerate() {
                fields.push(name, format!("value {at}").as_bytes());
            }
            let mut at = 0;
            fields.remove_if(|_| {
                at += 1;
                removed >> (at - 1) & 1 == 1
            });
            for unwanted in [Known::Host, Known::Te, Known::Date] {
                let mut expected = Vec::new();
                let wanted = fields.iter().filter(|field| field.known != unwanted);
                for field in wanted {
                    let name = std::str::from_utf8(field.name).unwrap();
                    write_field(&mut expected, name, field.value);
                }
                let mut out = Vec::new();
                fields.write_if(&mut out, |known| known != unwanted);
                assert_eq!(out, expected, "without {removed:b} and {unwanted:?}");
            }
        }
    }
}
