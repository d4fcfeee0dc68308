//! Where keys are fetched from: an `https` URL, or an `http` one of this host. It takes a URL apart and never opens a
//! connection.

use hyper::Uri;
use rustls::pki_types::ServerName;

use crate::tls::problem::Fault;

/// A URL that keys may be fetched from.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// As the field `Host` has it.
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
    /// Whom the server must be; `None` for plain HTTP, which is spoken with this host alone.
    pub(super) secured: Option<ServerName<'static>>,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Address, Fault> {
        let fault = |what: &str| {
            Fault::new(format!("`{url}` {what}"))
                .advise("an example: https://login.example.com/.well-known/jwks.json")
        };
        let uri: Uri = url.parse().map_err(|_| fault("is no URL"))?;
        let authority = uri.authority().ok_or_else(|| fault("is no whole URL"))?;
        if authority.as_str().contains('@') {
            return Err(fault("has a user in it"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let name = || {
            let name = ServerName::try_from(host.clone());
            name.map_err(|_| fault("has no name of a host"))
        };
        let (secured, default_port) = match uri.scheme_str() {
            Some("https") => (Some(name()?), 443),
            Some("http") => (None, 80),
            _ => return Err(fault("is not https")),
        };
        Ok(Address {
            port: authority.port_u16().unwrap_or(default_port),
            authority: authority.as_str().to_owned(),
            target: uri
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned(),
            secured,
            host,
        })
    }

    pub(super) fn is_secured(&self) -> bool {
        self.secured.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_urls_are_taken() {
        let check = |url: &str, expected: Option<(&str, u16, &str, bool)>| {
            let address = Address::parse(url).ok();
            let found = address.as_ref().map(|address| {
                let Address {
                    host, port, target, ..
                } = address;
                (host.as_str(), *port, target.as_str(), address.is_secured())
            });
            assert_eq!(found, expected, "{url}");
        };
        check(
            "https://a.example/keys?x=1",
            Some(("a.example", 443, "/keys?x=1", true)),
        );
        check(
            "https://a.example:8443",
            Some(("a.example", 8443, "/", true)),
        );
        check("https://[::1]:1/k", Some(("::1", 1, "/k", true)));
        check("http://127.0.0.1:9/k", Some(("127.0.0.1", 9, "/k", false)));
        check("https://user:pass@a.example/", None);
        check("ftp://a.example/", None);
        check("/keys", None);
        check("a.example", None);
        check("https://", None);
    }
}
