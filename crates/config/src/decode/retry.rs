//! What a pool does when its servers fail: what is tried again, and who is kept waiting. It never looks at servers.

use super::fields::{Decoder, Fields};
use super::lists;
use crate::key::Key;
use crate::keys;
use crate::node::Value;
use crate::plan::{Hold, Retry};
use crate::value::{self, amounts, shown};

/// What is tried again.
pub(super) fn retry(decoder: &mut Decoder<'_, '_>, pool: &Fields<'_>) -> Retry {
    let (fields, is_off) = off_or_block(decoder, pool, &keys::RETRY_KEY);
    let attempts = decoder.or_default(&fields, &keys::RETRY_ATTEMPTS, value::integer);
    let statuses = lists::list(
        decoder,
        &fields,
        &keys::RETRY_STATUSES,
        "status",
        amounts::status,
    );
    let statuses = statuses.unwrap_or_default();
    Retry {
        attempts: if is_off { 0 } else { attempts },
        budget_percent: decoder.or_default(&fields, &keys::RETRY_BUDGET, amounts::percent),
        statuses: lists::distinct(decoder, &keys::RETRY_STATUSES, statuses),
    }
}

/// Who is kept waiting; `None` when nobody is.
pub(super) fn hold(decoder: &mut Decoder<'_, '_>, pool: &Fields<'_>) -> Option<Hold> {
    pool.get(&keys::HOLD_KEY)?;
    let (fields, is_off) = off_or_block(decoder, pool, &keys::HOLD_KEY);
    let hold = Hold {
        patience: decoder.duration(&fields, &keys::HOLD_FOR),
        max: decoder.or_default(&fields, &keys::HOLD_MAX, value::count),
    };
    (!is_off).then_some(hold)
}

/// The keys of the block at `key`, and whether it is `off` instead.
fn off_or_block<'n>(
    decoder: &mut Decoder<'_, '_>,
    pool: &Fields<'n>,
    key: &'static Key,
) -> (Fields<'n>, bool) {
    let Some(node) = pool.get(key) else {
        return (Fields::none(pool.place), false);
    };
    match (&node.value, key.shape.block()) {
        (Value::Scalar(text), _) if text == "off" => (Fields::none(node.place), true),
        (Value::Scalar(text), _) => {
            let what = format!("{} is not a value of `{}`", shown(text), key.name);
            decoder.mistake(node.place, what, [key.shape.expected()]);
            (Fields::none(node.place), false)
        }
        (_, Some(block)) => (decoder.fields(node, block, node.place), false),
        (_, None) => unreachable!("`{}` is described as a block", key.name),
    }
}
