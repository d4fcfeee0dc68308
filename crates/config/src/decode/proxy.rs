//! Whose PROXY headers a listener reads. It never looks at other listeners.

use super::fields::{Decoder, Fields};
use super::lists;
use crate::keys;
use crate::node::Value;
use crate::place::Place;
use crate::plan::{AcceptProxy, Bind};
use crate::value;

/// From whom headers are expected; `None` when from nobody. `binds` is where the listener accepts.
pub(super) fn decode(
    decoder: &mut Decoder<'_, '_>,
    listener: &Fields<'_>,
    binds: &[(Bind, Place)],
) -> Option<AcceptProxy> {
    let node = listener.get(&keys::ACCEPT_PROXY_KEY)?;
    let fields = decoder.fields(node, &keys::ACCEPT_PROXY, node.place);
    let accept = decoder.or_default(&fields, &keys::ACCEPT, value::boolean);
    let trusted = lists::distinct_networks(decoder, &fields, &keys::TRUSTED);
    let all_unix = binds.iter().all(|(bind, _)| matches!(bind, Bind::Unix(_)));
    let is_block = matches!(node.value, Value::Nothing | Value::Block(_));
    if accept && is_block && !all_unix && !fields.mentions(&keys::TRUSTED) {
        let advice = [
            format!("expected `trusted`: {}", keys::TRUSTED.shape.form()),
            "whoever sends a header can claim to be anybody, so only known proxies may".to_owned(),
        ];
        decoder.mistake(
            node.place,
            "the proxy_protocol block has no `trusted`",
            advice,
        );
    }
    accept.then(|| AcceptProxy {
        trusted: trusted.unwrap_or_default(),
    })
}
