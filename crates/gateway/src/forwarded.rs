//! Who the client is and what servers and clients are told of the way between them. Nothing that a stranger says of
//! itself is believed or passed on; what a trusted proxy says is.

mod client;
mod connection;
mod request;
mod request_id;
mod response;
mod strangers;

pub use self::client::{ClientAddr, client_of};
pub use self::connection::{ConnectionOptions, check_connection};
pub use self::request::{Facts, Received, prepare_request};
pub use self::request_id::{RequestId, RequestIds, request_id};
pub use self::response::prepare_response;
pub(crate) use self::strangers::is_trust;
