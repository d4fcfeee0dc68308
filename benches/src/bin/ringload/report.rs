//! What came of a run, for people and for programs. A run in which anything failed, or that did not
//! keep its rate, is not valid.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::tls::Handshake;

/// Latencies are kept with so many digits.
const DIGITS: u8 = 3;

/// The longest latency that is told apart from longer ones, in nanoseconds.
const LATENCY_MAX: u64 = 60_000_000_000;

/// The share of its rate that a run must have kept.
const KEPT_MIN: f64 = 0.99;

/// The quantiles that are told.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

/// What is noted during a run of exchanges.
pub(crate) struct Tally {
    latencies: Histogram<u64>,
    handshakes: Histogram<u64>,
    resumed: u64,
    last: Option<Instant>,
    errors: BTreeMap<String, u64>,
    rate: Option<f64>,
    /// Connections that have been given up.
    pub(crate) lost: usize,
}

impl Tally {
    /// Nothing yet, of a run that is to keep that rate.
    pub(crate) fn new(rate: Option<f64>) -> Self {
        let histogram = Histogram::new_with_max(LATENCY_MAX, DIGITS)
            .expect("the constants are within the histogram's bounds");
        Self {
            latencies: histogram.clone(),
            handshakes: histogram,
            resumed: 0,
            last: None,
            errors: BTreeMap::new(),
            rate,
            lost: 0,
        }
    }

    /// An exchange has ended well.
    pub(crate) fn done(&mut self, now: Instant, latency: Duration) {
        self.last = Some(now);
        record(&mut self.latencies, latency);
    }

    /// A connection that was meant to begin then has had this handshake, or none.
    pub(crate) fn shaken(&mut self, intended: Instant, handshake: Option<Handshake>) {
        if let Some(Handshake { ended, resumed }) = handshake {
            self.resumed += u64::from(resumed);
            record(&mut self.handshakes, ended - intended);
        }
    }

    /// All but so many handshakes were to resume a session.
    pub(crate) fn check_resumed(&mut self, full_max: u64) {
        let full = self.handshakes.len() - self.resumed;
        if full > full_max {
            self.failed_times("the session was not resumed", full - full_max);
        }
    }

    /// So many have failed.
    pub(crate) fn failed_times(&mut self, why: &str, times: u64) {
        *self.errors.entry(why.to_owned()).or_default() += times;
    }

    /// The report of the run that began at `start`.
    pub(crate) fn finish(mut self, start: Instant) -> Report {
        let seconds = self.last.map_or(0.0, |last| (last - start).as_secs_f64());
        let rate = self.latencies.len() as f64 / seconds.max(f64::MIN_POSITIVE);
        if self.rate.is_some_and(|asked| rate < KEPT_MIN * asked) {
            self.failed_times("the rate was not kept", 1);
        }
        let mut figures = vec![
            ("exchanges", json!(self.latencies.len())),
            ("seconds", json!(seconds)),
            ("exchanges_per_second", json!(rate)),
            ("latency_us", quantiles_us(&self.latencies)),
        ];
        if !self.handshakes.is_empty() {
            figures.push(("handshakes", json!(self.handshakes.len())));
            figures.push(("resumed", json!(self.resumed)));
            figures.push(("handshake_us", quantiles_us(&self.handshakes)));
        }
        Report {
            figures,
            errors: self.errors,
        }
    }
}

fn record(histogram: &mut Histogram<u64>, length: Duration) {
    let nanoseconds = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    histogram.saturating_record(nanoseconds.max(1));
}

fn quantiles_us(histogram: &Histogram<u64>) -> Value {
    let quantile = |(name, quantile): (&str, f64)| {
        let nanoseconds = histogram.value_at_quantile(quantile);
        (name.to_owned(), json!(nanoseconds as f64 / 1e3))
    };
    Value::Object(QUANTILES.map(quantile).into_iter().collect())
}

/// The figures of a run by name, units last, and what failed how often.
pub(crate) struct Report {
    pub(crate) figures: Vec<(&'static str, Value)>,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Report {
    /// Whether the figures mean anything.
    pub(crate) fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// Prints it, as one line of JSON or for people.
    pub(crate) fn print(&self, as_json: bool) {
        if as_json {
            let mut whole: serde_json::Map<String, Value> = self
                .figures
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            whole.insert("errors".to_owned(), json!(self.errors));
            println!("{}", Value::Object(whole));
            return;
        }
        for (name, value) in &self.figures {
            match value {
                Value::Object(parts) => parts
                    .iter()
                    .for_each(|(part, value)| line(&format!("{name} {part}"), value)),
                value => line(name, value),
            }
        }
        for (why, times) in &self.errors {
            println!("FAILED {times} times: {why}");
        }
    }
}

fn line(name: &str, value: &Value) {
    match value.as_f64() {
        Some(number) if !value.is_u64() => println!("{name:24}{number:>16.3}"),
        _ => println!("{name:24}{value:>16}"),
    }
}
