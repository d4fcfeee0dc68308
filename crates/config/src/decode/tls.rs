//! How a listener ends TLS. It names files and never opens them.

use std::collections::HashMap;
use std::path::PathBuf;

use super::fields::{Decoder, Fields};
use super::lists;
use crate::key::Key;
use crate::keys;
use crate::node::{Node, Value};
use crate::place::Place;
use crate::plan::{Certificates, ClientAuth, ClientAuthMode, Pair, Tls, TlsVersion, UnknownName};
use crate::value::{self, Wrong, http, shown};

/// How the listener ends TLS; `None` when it does not, or after a mistake. `speaks_http` is whether it does so inside.
pub(super) fn decode(
    decoder: &mut Decoder<'_, '_>,
    listener: &Fields<'_>,
    speaks_http: bool,
) -> Option<Tls> {
    let node = listener.get(&keys::TLS_KEY)?;
    let fields = decoder.fields(node, &keys::TLS, node.place);
    let certs = certificates(decoder, &fields);
    let min_version = decoder.word(&fields, &keys::MIN_VERSION, TlsVersion::from_word);
    let alpn = match speaks_http {
        true => spoken(decoder, &fields),
        false => lists::protocols(decoder, &fields, &keys::TLS_ALPN),
    };
    let client_auth = client_auth(decoder, &fields);
    let ticket_keys = file(decoder, &fields, &keys::TICKET_KEYS);
    let unknown_name = decoder.word(&fields, &keys::UNKNOWN_NAME, UnknownName::from_word);
    Some(Tls {
        certs: certs?,
        min_version,
        alpn,
        client_auth,
        ticket_keys,
        unknown_name,
    })
}

/// The protocols of a listener that speaks HTTP: both, unless the file says otherwise.
fn spoken(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) -> Vec<String> {
    let key = &keys::TLS_ALPN;
    match lists::list(decoder, fields, key, "protocol", http::spoken) {
        Some(protocols) => lists::distinct(decoder, key, protocols),
        None => ["h2", "http/1.1"].map(str::to_owned).to_vec(),
    }
}

/// The file that `key` names; `None` when it is not set, or wrong, which is noted.
pub(super) fn file(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
) -> Option<PathBuf> {
    decoder.if_set(fields, key, path)
}

fn path(text: &str, _: &'static Key) -> Result<PathBuf, Wrong> {
    value::file_path(text)
}

fn certificates(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) -> Option<Certificates> {
    let node = fields.get(&keys::CERTS)?;
    let expected = || keys::CERTS.shape.expected();
    match &node.value {
        Value::Scalar(text) => {
            let folder = decoder.parsed(node.place, value::folder_path(text))?;
            Some(Certificates::Folder(folder))
        }
        Value::List(items) if !items.is_empty() => {
            let pairs = items.iter().filter_map(|item| pair(decoder, item));
            let pairs: Vec<(Pair, Place)> = pairs.collect();
            twice(decoder, &pairs);
            let pairs = pairs.into_iter().map(|(pair, _)| pair);
            Some(Certificates::List(pairs.collect()))
        }
        Value::List(_) | Value::Nothing => {
            decoder.mistake(node.place, "`certs` names no certificate", [expected()]);
            None
        }
        Value::Block(_) => {
            decoder.mistake(node.place, "`certs` is a block of keys", [expected()]);
            None
        }
    }
}

/// A certificate with its key, and where the former stands.
fn pair(decoder: &mut Decoder<'_, '_>, node: &Node) -> Option<(Pair, Place)> {
    match &node.value {
        Value::Scalar(text) => {
            let both = decoder.parsed(node.place, value::file_path(text))?;
            let pair = Pair {
                cert: both.clone(),
                key: both,
            };
            Some((pair, node.place))
        }
        Value::List(_) => {
            let what = "a certificate in `certs` is a list";
            decoder.mistake(node.place, what, [keys::CERTS.shape.expected()]);
            None
        }
        Value::Block(_) | Value::Nothing => {
            let fields = decoder.fields(node, &keys::CERTIFICATE, node.place);
            let cert = file(decoder, &fields, &keys::CERTIFICATE_CERT);
            let key = file(decoder, &fields, &keys::CERTIFICATE_KEY);
            let place = fields.get(&keys::CERTIFICATE_CERT).unwrap_or(node).place;
            let pair = Pair {
                cert: cert?,
                key: key?,
            };
            Some((pair, place))
        }
    }
}

/// Notes every certificate that is listed a second time.
fn twice(decoder: &mut Decoder<'_, '_>, pairs: &[(Pair, Place)]) {
    let mut listed: HashMap<&PathBuf, Place> = HashMap::new();
    for (pair, place) in pairs {
        match listed.get(&pair.cert) {
            None => drop(listed.insert(&pair.cert, *place)),
            Some(_) if decoder.is_full() => {
                decoder.mistake(*place, "a certificate is listed twice", [""; 0]);
            }
            Some(first) => {
                let what = format!(
                    "{} is in `certs` twice",
                    shown(&pair.cert.display().to_string())
                );
                let advice = [format!("the first is at {}", decoder.describe(*first))];
                decoder.mistake(*place, what, advice);
            }
        }
    }
}

fn client_auth(decoder: &mut Decoder<'_, '_>, tls: &Fields<'_>) -> Option<ClientAuth> {
    let node = tls.get(&keys::CLIENT_AUTH_KEY)?;
    let fields = decoder.fields(node, &keys::CLIENT_AUTH, node.place);
    let ca = file(decoder, &fields, &keys::CLIENT_AUTH_CA);
    let mode = decoder.word(&fields, &keys::CLIENT_AUTH_MODE, ClientAuthMode::from_word);
    let crl = file(decoder, &fields, &keys::CLIENT_AUTH_CRL);
    Some(ClientAuth { ca: ca?, mode, crl })
}
