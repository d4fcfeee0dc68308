//! The routes of one host pattern and one path pattern. Where they are many, those that want a value of a field are
//! found by that value; the others are tried in their order.

use std::collections::{HashMap, HashSet};

use super::map::Map;
use super::{Conditions, Search};

/// So many are tried sooner than looked up.
const TRIED_MAX: usize = 8;

/// Routes whose hosts and paths are alike.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Those that are tried, in their order.
    tried: Vec<u32>,
    /// Those that want a value of a field: by its name, then by the value.
    by_field: Map<Box<[u8]>, ByValue>,
}

/// Routes by the value that they want of a field.
type ByValue = Map<Box<[u8]>, Vec<u32>>;

impl Bucket {
    /// Adds a route behind the others.
    pub(super) fn add(&mut self, index: u32) {
        if self.tried.last() != Some(&index) {
            self.tried.push(index);
        }
    }

    /// All are added: sorts them by the field that tells most of them apart.
    pub(super) fn settle(&mut self, conditions: &[Conditions]) {
        if self.tried.len() <= TRIED_MAX {
            return;
        }
        let indexes = std::mem::take(&mut self.tried);
        let mut values: HashMap<&str, HashSet<&str>> = HashMap::new();
        let wanted = indexes.iter().flat_map(|index| exact(conditions, *index));
        for (name, value) in wanted {
            values.entry(name).or_default().insert(value);
        }
        for index in indexes {
            let best = exact(conditions, index).max_by_key(|(name, _)| values[name].len());
            let list = match best {
                None => &mut self.tried,
                Some((name, value)) => {
                    let of_name = self.by_field.entry(name.as_bytes().into()).or_default();
                    of_name.entry(value.as_bytes().into()).or_default()
                }
            };
            list.push(index);
        }
    }

    /// Goes through those that may match.
    pub(super) fn search(&self, search: &mut Search<'_>) {
        search.among(&self.tried);
        if self.by_field.is_empty() {
            return;
        }
        for field in search.asked.fields.iter() {
            let of_name = self.by_field.get(field.name);
            if let Some(indexes) = of_name.and_then(|of_name| of_name.get(field.value)) {
                search.among(indexes);
            }
        }
    }
}

/// The fields of which a route wants one value.
fn exact(conditions: &[Conditions], index: u32) -> impl Iterator<Item = (&str, &str)> {
    let headers = conditions[index as usize].headers.iter();
    headers.filter_map(|header| Some((header.name.as_str(), header.value.as_deref()?)))
}
