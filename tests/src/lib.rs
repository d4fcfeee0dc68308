//! The harness of the tests beside it: starts the real binary, gives it real peers and reads what a user would read
//! (files, metrics, logs, `/proc`). It never looks into Ringgate's own crates, and it knows no promise: those are the
//! files of `tests/`.

mod attacked;
mod client;
mod command;
mod config;
mod credentials;
mod daemon;
mod dialogue;
mod frame;
mod framing;
mod h2;
mod h2_server;
mod haproxy;
mod hpack;
mod http;
mod jwt;
mod load;
mod metrics;
mod nginx;
mod oracle;
mod pattern;
mod peer;
mod pki;
mod proc;
mod recorder;
mod ringgate;
mod servers;
mod temp;
mod tls;
mod wait;
mod wire;

pub use crate::attacked::{Attacked, By, Refused};
pub use crate::client::{connect, ended, read_to_end, refuses, reset, send_all, try_connect};
pub use crate::command::{Finished, binary, finish, finish_within, run_to_end};
pub use crate::config::{Config, loopback};
pub use crate::credentials::{basic, token_line, user_line};
pub use crate::daemon::Place;
pub use crate::dialogue::Dialogue;
pub use crate::frame::Frame;
pub use crate::framing::{Body, FieldList, Head};
pub use crate::h2::{
    Ends, H2, H2End, H2Message, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, head,
};
pub use crate::h2_server::{H2Answer, H2Server, serve_all};
pub use crate::haproxy::Haproxy;
pub use crate::hpack::{Fields, literal, literals};
pub use crate::http::{Response, get, request};
pub use crate::jwt::{JwtKey, base64url, hs256, jwks, signed_part};
pub use crate::load::{Failure, Keep, Load, answers, in_parallel};
pub use crate::metrics::{Family, Metrics, Sample};
pub use crate::nginx::{Nginx, http, stream};
pub use crate::pattern::Pattern;
pub use crate::peer::{Peer, script};
pub use crate::pki::{Authority, Identity, KeyKind, Says, replace};
pub use crate::proc::Proc;
pub use crate::recorder::{Connection, Ended, Exchange, Received, Recorder, Tapped, Then, ok};
pub use crate::ringgate::{Ringgate, driver_under_test};
pub use crate::servers::{Hanging, Refusing, Server};
pub use crate::temp::TempDir;
pub use crate::tls::{
    ServesTls, TlsClient, TlsServer, TlsServerStream, TlsStream, echoed, first_line,
};
pub use crate::wait::{PATIENCE, wait_for, wait_until, wait_until_still};
pub use crate::wire::{Answer, End, Wire};
