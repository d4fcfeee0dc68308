//! A client that speaks HTTP/2.

use std::rc::Rc;

use ringgate_engine::plugin::{ClosedBy, Guest, Reason, Served};

use crate::rules::Rules;
use crate::shelf::Shelf;

/// Serves a connection to its end; `heard` are its first bytes.
pub(crate) async fn serve(
    _rules: &Rules,
    _shelf: &Rc<Shelf>,
    _guest: Guest,
    _heard: Vec<u8>,
) -> Served {
    Served {
        by: ClosedBy::Ringgate,
        reason: Reason::BadRequest,
        is_logged: false,
    }
}
