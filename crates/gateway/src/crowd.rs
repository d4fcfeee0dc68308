//! How many connections to servers of HTTP/1 the clients of HTTP/2 hold at once: each of their requests needs one, so that
//! one client could take those of a hundred others. Every client may have one; of the others it gets the fewer the more
//! of them are taken, so that some are always left for whoever comes next.

use std::cell::Cell;

/// The connections of one worker that are more than one to a client.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    further: Cell<u32>,
}

/// One of them, or the first of its client, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    crowd: &'a Crowd,
    own: &'a Cell<u32>,
}

impl Crowd {
    /// Takes one for a client who has `own`, where there may be `max` in all besides the first ones; `None` when it has
    /// its share.
    pub(crate) fn enter<'a>(&'a self, own: &'a Cell<u32>, max: u32) -> Option<Place<'a>> {
        let further = self.further.get();
        if own.get() > 0 {
            if own.get() > max.saturating_sub(further) {
                return None;
            }
            self.further.set(further + 1);
        }
        own.set(own.get() + 1);
        Some(Place { crowd: self, own })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.own.set(self.own.get() - 1);
        if self.own.get() > 0 {
            self.crowd.further.set(self.crowd.further.get() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    #[test]
    fn whoever_has_much_gets_no_more_while_others_still_do() {
        let crowd = Crowd::default();
        let owns = [(); 6].map(|()| Cell::new(0));
        let all = |own| -> Vec<Place<'_>> { iter::from_fn(|| crowd.enter(own, 100)).collect() };
        let places: Vec<_> = owns.iter().map(all).collect();
        let counts: Vec<usize> = places.iter().map(Vec::len).collect();
        assert_eq!(counts, [51, 26, 14, 7, 4, 3]);
    }

    #[test]
    fn what_is_given_back_is_there_again() {
        let crowd = Crowd::default();
        let own = Cell::new(0);
        for _ in 0..3 {
            let places: Vec<_> = iter::from_fn(|| crowd.enter(&own, 9)).collect();
            assert_eq!((places.len(), own.get()), (6, 6));
            assert_eq!(crowd.further.get(), 5);
            drop(places);
            assert_eq!((own.get(), crowd.further.get()), (0, 0));
        }
        let first = crowd.enter(&own, 0);
        assert!(first.is_some() && crowd.enter(&own, 0).is_none());
    }
}
