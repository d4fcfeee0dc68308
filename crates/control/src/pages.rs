//! The pages whose making takes the longer the larger the configuration is, kept for a while after they were made:
//! however many clients ask, making pages never takes more than its share of the thread that also checks servers.
//! It never makes a page itself.

use std::cell::RefCell;
use std::time::Instant;

use hyper::body::Bytes;

/// A page is kept for so many times as long as it took to make: a fifth of the thread's time at most goes into it.
/// It is relative because a page of a few servers takes far below a millisecond and then may as well be new.
const KEPT_PER_MAKING: u32 = 4;

/// What the doors share.
#[derive(Default)]
pub(crate) struct Pages {
    pub(crate) metrics: Page,
    pub(crate) status: Page,
}

/// One page, or none yet.
#[derive(Default)]
pub(crate) struct Page(RefCell<Option<Made>>);

struct Made {
    text: Bytes,
    kept_until: Instant,
}

impl Page {
    /// The kept page while it is kept, else what `make` makes.
    ///
    /// # Errors
    /// Those of `make`; nothing is kept then.
    pub(crate) fn get<E>(&self, make: impl FnOnce() -> Result<String, E>) -> Result<Bytes, E> {
        let asked = Instant::now();
        if let Some(made) = &*self.0.borrow()
            && asked < made.kept_until
        {
            return Ok(made.text.clone());
        }
        let text = Bytes::from(make()?);
        let now = Instant::now();
        *self.0.borrow_mut() = Some(Made {
            text: text.clone(),
            kept_until: now + (now - asked) * KEPT_PER_MAKING,
        });
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    #[test]
    fn making_takes_a_fifth_of_the_time_however_many_ask() {
        let (page, made) = (Page::default(), Cell::new(0));
        let making = Duration::from_millis(2);
        let begun = Instant::now();
        while made.get() < 10 {
            let make = || {
                made.set(made.get() + 1);
                sleep(making);
                Ok::<_, Infallible>(made.get().to_string())
            };
            let Ok(text) = page.get(make);
            assert_eq!(text, made.get().to_string());
        }
        assert!(begun.elapsed() >= making * (10 + 9 * KEPT_PER_MAKING));
    }

    #[test]
    fn what_could_not_be_made_is_not_kept() {
        let page = Page::default();
        assert_eq!(page.get(|| Err(1)), Err(1));
        let text = page.get(|| Ok::<_, u8>("page".to_owned()));
        assert_eq!(text, Ok(Bytes::from("page")));
    }
}
