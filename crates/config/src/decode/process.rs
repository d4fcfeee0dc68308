//! The keys of the process: workers, driver, doors, log, limits and the process-wide clocks. It never looks at
//! listeners or pools.

use std::time::Duration;

use super::fields::{Decoder, Fields};
use crate::keys;
use crate::place::Place;
use crate::plan::{
    Admin, ConnectionLimit, Io, Limits, Log, LogFormat, LogLevel, Timeouts, Workers,
};
use crate::value;

/// What the top of the file says about the process.
pub(super) struct Process {
    pub(super) workers: Workers,
    pub(super) io: Io,
    pub(super) doors: Doors,
    pub(super) log: Log,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) drain: Duration,
}

/// The doors of the operator and where the file sets them.
pub(super) struct Doors {
    pub(super) admin: Admin,
    pub(super) socket_place: Option<Place>,
    pub(super) http_place: Option<Place>,
}

/// Reads the keys of the process.
pub(super) fn decode(decoder: &mut Decoder<'_, '_>, top: &Fields<'_>) -> Process {
    let timeouts = decoder.block(top, &keys::TIMEOUTS_KEY, &keys::TIMEOUTS);
    Process {
        workers: decoder.or_default(top, &keys::WORKERS, value::workers),
        io: decoder.word(top, &keys::IO, Io::from_word),
        doors: doors(decoder, top),
        log: log(decoder, top),
        limits: limits(decoder, top),
        timeouts: Timeouts {
            connect: decoder.duration(&timeouts, &keys::CONNECT),
            handshake: decoder.duration(&timeouts, &keys::HANDSHAKE),
            first_byte: decoder.duration(&timeouts, &keys::FIRST_BYTE),
            idle: decoder.duration(&timeouts, &keys::IDLE),
            half_closed: decoder.duration(&timeouts, &keys::HALF_CLOSED),
            header: decoder.duration(&timeouts, &keys::HEADER),
            response: decoder.duration(&timeouts, &keys::RESPONSE),
        },
        drain: decoder.duration(&timeouts, &keys::DRAIN),
    }
}

fn doors(decoder: &mut Decoder<'_, '_>, top: &Fields<'_>) -> Doors {
    let fields = decoder.block(top, &keys::ADMIN_KEY, &keys::ADMIN);
    Doors {
        admin: Admin {
            socket: decoder.or_default(&fields, &keys::ADMIN_SOCKET, |text, _| {
                value::socket_path(text)
            }),
            http: decoder.or_default(&fields, &keys::ADMIN_HTTP, |text, _| value::http_door(text)),
        },
        socket_place: fields.get(&keys::ADMIN_SOCKET).map(|node| node.place),
        http_place: fields.get(&keys::ADMIN_HTTP).map(|node| node.place),
    }
}

fn log(decoder: &mut Decoder<'_, '_>, top: &Fields<'_>) -> Log {
    let fields = decoder.block(top, &keys::LOG_KEY, &keys::LOG);
    Log {
        level: decoder.word(&fields, &keys::LOG_LEVEL, LogLevel::from_word),
        access: decoder.or_default(&fields, &keys::LOG_ACCESS, |text, _| {
            value::access_log(text)
        }),
        format: decoder.word(&fields, &keys::LOG_FORMAT, LogFormat::from_word),
    }
}

fn limits(decoder: &mut Decoder<'_, '_>, top: &Fields<'_>) -> Limits {
    let fields = decoder.block(top, &keys::LIMITS_KEY, &keys::LIMITS);
    let connections = decoder.or_default(&fields, &keys::LIMIT_CONNECTIONS, value::auto_or_integer);
    let handshakes = decoder.or_default(&fields, &keys::LIMIT_HANDSHAKES, value::auto_or_integer);
    Limits {
        connections: connections.map_or(ConnectionLimit::Auto, ConnectionLimit::Exactly),
        handshakes: handshakes.unwrap_or(keys::HANDSHAKES_AUTO),
    }
}
