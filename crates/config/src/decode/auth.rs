//! How clients of HTTP show who they are. It names files and URLs and never opens them.

use super::fields::{Decoder, Fields};
use super::lists;
use super::stages::{Given, Surroundings};
use super::tls::file;
use crate::key::Key;
use crate::keys;
use crate::node::{Node, Value};
use crate::plan::{Auth, Jwt, JwtKeys};
use crate::value::urls::{self, KeysPlace};
use crate::value::{self, Wrong, http, shown};
use crate::word::Algorithm;

/// What `key`, which is `auth`, says.
pub(super) fn decode(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
    around: &Surroundings,
) -> Given<Auth> {
    let Some(node) = fields.get(key) else {
        return match fields.mentions(key) {
            true => Given::Value(nobody()),
            false => Given::Nothing,
        };
    };
    match &node.value {
        Value::Scalar(text) if text == "off" => Given::Off,
        Value::Scalar(text) => {
            let what = format!("{} is not a value of `auth`", shown(text));
            let advice = match text.as_str() {
                "false" | "no" | "none" => "write `off`".to_owned(),
                _ => key.shape.expected(),
            };
            decoder.mistake(node.place, what, [advice]);
            Given::Value(nobody())
        }
        _ => block(decoder, node, around),
    }
}

/// What stands for `auth` after a mistake in it.
fn nobody() -> Auth {
    Auth {
        realm: String::new(),
        tokens_file: None,
        users_file: None,
        jwt: None,
        client_certificate: false,
    }
}

fn block(decoder: &mut Decoder<'_, '_>, node: &Node, around: &Surroundings) -> Given<Auth> {
    let fields = decoder.fields(node, &keys::AUTH, node.place);
    let auth = Auth {
        realm: decoder.or_default(&fields, &keys::REALM, http::realm),
        tokens_file: file(decoder, &fields, &keys::TOKENS_FILE),
        users_file: file(decoder, &fields, &keys::USERS_FILE),
        jwt: jwt(decoder, &fields),
        client_certificate: client_certificate(decoder, &fields, around),
    };
    let ways = [&keys::TOKENS_FILE, &keys::USERS_FILE, &keys::JWT_KEY];
    let is_block = matches!(node.value, Value::Block(_) | Value::Nothing);
    let none = !ways.iter().any(|key| fields.mentions(key)) && !auth.client_certificate;
    if is_block && none && !fields.mentions(&keys::CLIENT_CERTIFICATE) && !fields.is_misplaced() {
        let advice = [
            "expected `tokens_file`, `users_file`, `jwt`, `client_certificate` or several of them",
            "where nobody has to show who they are, write `auth: off`",
        ];
        decoder.mistake(node.place, "`auth` names no way to authenticate", advice);
    } else if let Some(off) = fields.get(&keys::CLIENT_CERTIFICATE).filter(|_| none) {
        let advice = ["where nobody has to show who they are, write `auth: off`"];
        decoder.mistake(off.place, "`auth` names no way to authenticate", advice);
    }
    Given::Value(auth)
}

fn client_certificate(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    around: &Surroundings,
) -> bool {
    let key = &keys::CLIENT_CERTIFICATE;
    let wanted = decoder.or_default(fields, key, value::boolean);
    if let Some(node) = fields
        .get(key)
        .filter(|_| wanted && !around.has_client_auth)
    {
        let advice = [
            "set `tls.client_auth` on the listener, with the authorities that may sign certificates",
        ];
        let what = "the listener asks clients for no certificate";
        decoder.mistake(node.place, what, advice);
    }
    wanted
}

fn jwt(decoder: &mut Decoder<'_, '_>, auth: &Fields<'_>) -> Option<Jwt> {
    let node = auth.get(&keys::JWT_KEY)?;
    let fields = decoder.fields(node, &keys::JWT, node.place);
    let place = decoder.if_set(&fields, &keys::JWT_KEYS, urls::keys_place);
    let keys = keys_of(decoder, &fields, place);
    let is_file = matches!(keys, None | Some(JwtKeys::File(_)));
    let audience = lists::list(
        decoder,
        &fields,
        &keys::JWT_AUDIENCE,
        "audience",
        http::claim,
    );
    let audience = audience.unwrap_or_default();
    let rest = Jwt {
        keys: JwtKeys::File("/".into()),
        issuer: decoder.if_set(&fields, &keys::JWT_ISSUER, http::claim),
        audience: lists::distinct(decoder, &keys::JWT_AUDIENCE, audience),
        algorithms: algorithms(decoder, &fields, is_file),
        leeway: decoder.duration(&fields, &keys::JWT_LEEWAY),
        consumer_claim: decoder.or_default(&fields, &keys::JWT_CONSUMER, http::claim),
        scope_claim: decoder.or_default(&fields, &keys::JWT_SCOPES, http::claim),
    };
    keys.map(|keys| Jwt { keys, ..rest })
}

/// Where the keys are, with what holds for a URL; what means nothing for a file is noted.
fn keys_of(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    place: Option<KeysPlace>,
) -> Option<JwtKeys> {
    let ca = file(decoder, fields, &keys::JWT_CA);
    let refresh = decoder.duration(fields, &keys::JWT_REFRESH);
    let set_max_age = decoder.duration_if_set(fields, &keys::JWT_MAX_AGE);
    let max_age = set_max_age.unwrap_or_else(|| {
        let default = decoder.default(&keys::JWT_MAX_AGE, value::duration);
        default.max(refresh)
    });
    if let (true, Some(node)) = (max_age < refresh, fields.get(&keys::JWT_MAX_AGE)) {
        let what = format!(
            "keys would be too old after {}",
            value::duration_text(max_age)
        );
        let advice = [format!(
            "expected at least `refresh`, which is {}",
            value::duration_text(refresh)
        )];
        decoder.mistake(node.place, what, advice);
    }
    let mut means_nothing = |set: &[&'static Key], why: &str| {
        for node in set.iter().filter_map(|key| Some((key, fields.get(key)?))) {
            let (key, node) = node;
            let what = format!("`{}` means nothing here", key.name);
            decoder.mistake(node.place, what, [why]);
        }
    };
    match place? {
        KeysPlace::File(path) => {
            let of_url = [&keys::JWT_CA, &keys::JWT_REFRESH, &keys::JWT_MAX_AGE];
            means_nothing(
                &of_url,
                "`keys` is a file, which is read again when it changes",
            );
            Some(JwtKeys::File(path))
        }
        KeysPlace::Loopback(url) => {
            means_nothing(
                &[&keys::JWT_CA],
                "`keys` is asked by http, without a certificate",
            );
            Some(JwtKeys::Url {
                url,
                ca: None,
                refresh,
                max_age,
            })
        }
        KeysPlace::Https(url) => Some(JwtKeys::Url {
            url,
            ca,
            refresh,
            max_age,
        }),
    }
}

/// The algorithms that are believed; `is_file` is whether the keys are in a file, and may so be secrets.
fn algorithms(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>, is_file: bool) -> Vec<String> {
    let key = &keys::JWT_ALGORITHMS;
    let all_asymmetric = || {
        let all = Algorithm::ALL.iter().filter(|each| !each.is_symmetric());
        all.map(|each| each.word().to_owned()).collect()
    };
    let Some(listed) = lists::list(decoder, fields, key, "algorithm", algorithm) else {
        return all_asymmetric();
    };
    for (algorithm, place) in listed.iter().filter(|_| !is_file) {
        if algorithm.is_symmetric() {
            let what =
                format!("`{algorithm}` signs with a secret, and keys behind a URL are public");
            let advice = ["put the secret into a file, or use an algorithm with a public key"];
            decoder.mistake(*place, what, advice);
        }
    }
    let listed = lists::distinct(decoder, key, listed);
    listed.iter().map(|each| each.word().to_owned()).collect()
}

fn algorithm(text: &str, key: &'static Key) -> Result<Algorithm, Wrong> {
    Algorithm::from_word(text).ok_or_else(|| match text.to_ascii_lowercase().as_str() {
        "none" => Wrong {
            what: format!(
                "{} is no algorithm: such tokens are not signed",
                shown(text)
            ),
            advice: vec![key.shape.expected()],
        },
        _ => value::no_word(text, key),
    })
}
