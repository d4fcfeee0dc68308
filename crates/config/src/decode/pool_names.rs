//! The names of pools, and their uses. It knows that a pool is there, and nothing of what is in it.

use std::collections::HashMap;

use super::fields::{Decoder, Fields};
use crate::key::Key;
use crate::near::nearest;
use crate::place::Place;
use crate::plan::PoolIndex;
use crate::value::shown;

/// A mistake lists at most this many pools.
const LISTED_MAX: usize = 12;

/// Every pool that the file names, also those with mistakes.
#[derive(Default)]
pub(super) struct PoolNames<'n> {
    /// In the order of the file.
    pub(super) in_order: Vec<&'n str>,
    /// Where each is in that order.
    pub(super) index: HashMap<&'n str, PoolIndex>,
}

impl PoolNames<'_> {
    /// The pool that `key` names; `None` when it is not set, or names none, which is noted.
    pub(super) fn named_by(
        &self,
        decoder: &mut Decoder<'_, '_>,
        fields: &Fields<'_>,
        key: &'static Key,
    ) -> Option<PoolIndex> {
        let node = fields.get(key)?;
        let name = decoder.scalar(node, key)?;
        self.named(decoder, node.place, name)
    }

    /// The pool that is called `name` at `place`; `None` when there is none, which is noted.
    pub(super) fn named(
        &self,
        decoder: &mut Decoder<'_, '_>,
        place: Place,
        name: &str,
    ) -> Option<PoolIndex> {
        let index = self.index.get(name).copied();
        if index.is_none() && !self.in_order.is_empty() {
            self.dangling(decoder, place, name);
        }
        index
    }

    fn dangling(&self, decoder: &mut Decoder<'_, '_>, place: Place, name: &str) {
        if decoder.is_full() {
            return decoder.mistake(place, "no pool has this name", [""; 0]);
        }
        let listed: Vec<&str> = self.in_order.iter().take(LISTED_MAX).copied().collect();
        let more = match self.in_order.len() - listed.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let mut advice = vec![format!("expected one of: {}{more}", listed.join(", "))];
        if let Some(near) = nearest(name, self.in_order.iter().copied()) {
            advice.push(format!("did you mean `{near}`?"));
        }
        decoder.mistake(place, format!("no pool is called {}", shown(name)), advice);
    }
}
