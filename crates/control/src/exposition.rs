//! What goes to the page in Prometheus' text format without passing the exporter. Histograms are written straight from
//! the engine's buckets: the exporter's own hold every single sample until they are drained, and between two scrapes
//! there may be millions of connections. Its counters know only whole numbers. Nothing here keeps anything.

use std::fmt::{Display, Write};

use ringgate_engine::counters::{Histogram, SECONDS_BOUNDS};

/// The cumulative reading of one or more histograms with the same bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    counts: [u64; SECONDS_BOUNDS.len() + 1],
    nanos: u128,
}

impl Reading {
    /// The sum over `histograms`. Each bucket is read once, so the total always equals the buckets' sum.
    pub(crate) fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Reading {
        let mut reading = Reading::default();
        for histogram in histograms {
            for (count, bucket) in reading.counts.iter_mut().zip(histogram.buckets()) {
                *count += bucket.count.get();
                reading.nanos += u128::from(bucket.nanos.get());
            }
        }
        reading
    }
}

/// The labels of a row as the page writes them, without the braces. A value may be any text.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut labels = String::new();
    for (name, text) in pairs {
        let comma = if labels.is_empty() { "" } else { "," };
        let text = text
            .replace('\\', r"\\")
            .replace('"', "\\\"")
            .replace('\n', r"\n");
        // Writing into a String cannot fail.
        let _ = write!(labels, "{comma}{name}=\"{text}\"");
    }
    labels
}

/// Appends a family of histograms, each with its [`labels`]; nothing when there is none.
pub(crate) fn write_histograms(
    page: &mut String,
    name: &str,
    help: &str,
    readings: impl IntoIterator<Item = (String, Reading)>,
) {
    const NANOS_PER_SECOND: f64 = 1e9;
    let mut lines = String::new();
    for (labels, reading) in readings {
        let (own, all) = match labels.is_empty() {
            true => (String::new(), String::new()),
            false => (format!("{labels},"), format!("{{{labels}}}")),
        };
        let mut passed = 0;
        for (bound, count) in SECONDS_BOUNDS.iter().zip(reading.counts) {
            passed += count;
            line(
                &mut lines,
                format_args!("{name}_bucket{{{own}le=\"{bound}\"}} {passed}"),
            );
        }
        let total: u64 = reading.counts.iter().sum();
        line(
            &mut lines,
            format_args!("{name}_bucket{{{own}le=\"+Inf\"}} {total}"),
        );
        let sum = reading.nanos as f64 / NANOS_PER_SECOND;
        line(&mut lines, format_args!("{name}_sum{all} {sum}"));
        line(&mut lines, format_args!("{name}_count{all} {total}"));
    }
    write_family(page, name, "histogram", help, &lines);
}

/// Appends a family of counters, each with its [`labels`]; nothing when there is none.
pub(crate) fn write_counters(
    page: &mut String,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (String, u64)>,
) {
    write_rows(page, name, "counter", help, rows);
}

/// Appends a family of gauges, each with its [`labels`]; nothing when there is none.
pub(crate) fn write_gauges(
    page: &mut String,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (String, i64)>,
) {
    write_rows(page, name, "gauge", help, rows);
}

fn write_rows<N: Display>(
    page: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    rows: impl Iterator<Item = (String, N)>,
) {
    let mut lines = String::new();
    for (labels, value) in rows {
        line(&mut lines, format_args!("{name}{{{labels}}} {value}"));
    }
    write_family(page, name, kind, help, &lines);
}

fn write_family(page: &mut String, name: &str, kind: &str, help: &str, lines: &str) {
    if !lines.is_empty() {
        line(
            page,
            format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"),
        );
        page.push_str(lines);
    }
}

/// Appends a family of one row without labels; `kind` is `counter` or `gauge`.
pub(crate) fn write_single(page: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    line(
        page,
        format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"),
    );
}

fn line(lines: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = writeln!(lines, "{text}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn counts_and_sums_of_all_workers_are_exact() {
        let histograms = [Histogram::default(), Histogram::default()];
        histograms[0].record(Duration::from_micros(100));
        histograms[0].record(Duration::from_nanos(100_001));
        histograms[1].record(Duration::from_micros(100));
        histograms[1].record(Duration::from_secs(7200));
        let mut page = String::new();
        write_histograms(
            &mut page,
            "x_seconds",
            "Help.",
            [(labels(&[("pool", "p")]), Reading::of(&histograms))],
        );
        let has = |line: &str| assert!(page.lines().any(|found| found == line), "{line} in {page}");
        has("# HELP x_seconds Help.");
        has("# TYPE x_seconds histogram");
        has("x_seconds_bucket{pool=\"p\",le=\"0.0001\"} 2");
        has("x_seconds_bucket{pool=\"p\",le=\"0.00025\"} 3");
        has("x_seconds_bucket{pool=\"p\",le=\"3600\"} 3");
        has("x_seconds_bucket{pool=\"p\",le=\"+Inf\"} 4");
        has("x_seconds_sum{pool=\"p\"} 7200.000300001");
        has("x_seconds_count{pool=\"p\"} 4");
    }

    #[test]
    fn any_text_may_be_a_label() {
        let mut page = String::new();
        write_gauges(&mut page, "x", "Help.", std::iter::empty());
        write_histograms(&mut page, "x", "Help.", []);
        assert_eq!(page, "");
        let any = labels(&[("name", "a \"b\\\n"), ("other", "c")]);
        write_gauges(&mut page, "x", "Help.", [(any, -1)].into_iter());
        assert_eq!(
            page,
            "# HELP x Help.\n# TYPE x gauge\nx{name=\"a \\\"b\\\\\\n\",other=\"c\"} -1\n"
        );
    }

    #[test]
    fn nothing_recorded_is_a_row_of_zeros() {
        let mut page = String::new();
        let readings = [(
            labels(&[("pool", "p")]),
            Reading::of(&[Histogram::default()]),
        )];
        write_histograms(&mut page, "x", "Help.", readings);
        assert!(
            page.lines().skip(2).all(|line| line.ends_with(" 0")),
            "{page}"
        );
    }
}
