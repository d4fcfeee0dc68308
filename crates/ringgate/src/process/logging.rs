//! The process log: what happens to Ringgate itself, on the standard error. The line per connection is another log,
//! and no worker writes to this one.

use std::io;

use ringgate_config::{Log, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

/// Sends every event from here on to the standard error, in the form and from the level that `log` says.
///
/// A reader that has gone is not complained about: the complaint would go to the same place.
pub(crate) fn begin(log: &Log) {
    let builder = fmt()
        .with_max_level(level(log.level))
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .log_internal_errors(false);
    match log.format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init(),
        LogFormat::Text => builder.init(),
    }
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
