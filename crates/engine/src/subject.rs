//! Whom a certificate is made out to, in a form of which no other subject has the same (RFC 4514).

use std::fmt::Write;

use rustls::pki_types::CertificateDer;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The subject of a certificate.
#[derive(Debug)]
pub(crate) struct Subject {
    /// As RFC 4514 writes it, the last part first; `None` when it is too long for a line of the log.
    pub(crate) name: Option<Box<str>>,
    /// Its common name, where it has one.
    pub(crate) common_name: Option<Box<str>>,
}

/// A subject that is longer is not told: cut, it could be another's.
const BYTES_MAX: usize = 1024;

impl Subject {
    /// The subject of a certificate that has been verified.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let mut name = String::new();
        let parts: Vec<_> = certificate.subject().iter().collect();
        for (number, part) in parts.iter().rev().enumerate() {
            for (place, attribute) in part.iter().enumerate() {
                name.push_str(match (number, place) {
                    (0, 0) => "",
                    (_, 0) => ",",
                    _ => "+",
                });
                let kind = oid2abbrev(attribute.attr_type(), oid_registry());
                match (kind, attribute.as_str()) {
                    (Ok(kind), Ok(value)) => {
                        name.push_str(kind);
                        name.push('=');
                        escape(value, &mut name);
                    }
                    // §2.4: what is no text, or of no known kind, stands as bytes.
                    _ => {
                        let _ = write!(name, "{}=#", attribute.attr_type().to_id_string());
                        for byte in attribute.attr_value().data {
                            let _ = write!(name, "{byte:02x}");
                        }
                    }
                }
            }
        }
        let common_name = certificate.subject().iter_common_name().next();
        let common_name = common_name.and_then(|name| name.as_str().ok());
        Some(Self {
            name: (1..=BYTES_MAX).contains(&name.len()).then(|| name.into()),
            common_name: common_name.map(Into::into),
        })
    }
}

/// Escapes what would make one value look like several (RFC 4514 §2.4).
fn escape(value: &str, to: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (place, character) in value.chars().enumerate() {
        let special = matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\');
        let first = place == 0 && matches!(character, ' ' | '#');
        if special || first || (place == last && character == ' ') {
            to.push('\\');
        }
        match character {
            '\0' => to.push_str("\\00"),
            _ => to.push(character),
        }
    }
}
