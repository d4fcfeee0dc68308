//! A strict reader of the Prometheus text format (exposition format 0.0.4): what a careless scraper would forgive is a
//! failure here. It knows no metric by name.

use std::collections::{BTreeMap, HashSet};

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// The families by name.
    pub families: BTreeMap<String, Family>,
}

/// A metric with all its labelled values.
#[derive(Clone, Debug, Default)]
pub struct Family {
    /// `counter`, `gauge`, `histogram`, …
    pub kind: String,
    /// Whether it has a help text.
    pub help: bool,
    /// Its values; for a histogram those of `_bucket`, `_sum` and `_count`.
    pub samples: Vec<Sample>,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name on the line.
    pub name: String,
    /// The labels by name.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Metrics {
    /// Reads one scrape.
    ///
    /// # Errors
    /// The first line that breaks the format, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        let mut reader = Reader::default();
        for line in text.lines() {
            reader
                .line(line)
                .map_err(|fault| format!("{fault}: {line:?}"))?;
        }
        for (name, family) in &reader.metrics.families {
            family
                .check(name)
                .map_err(|fault| format!("{name}: {fault}"))?;
        }
        Ok(reader.metrics)
    }

    /// The sum of all samples of that name whose labels include `labels`; `None` when there is none.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples(name)
            .filter(|sample| {
                labels.iter().all(|(label, value)| {
                    sample
                        .labels
                        .get(*label)
                        .is_some_and(|known| known == value)
                })
            })
            .map(|sample| sample.value)
            .reduce(|sum, value| sum + value)
    }

    /// All samples whose line has that name.
    pub fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        let samples = self.families.values().flat_map(|family| &family.samples);
        samples.filter(move |sample| sample.name == name)
    }
}

#[derive(Default)]
struct Reader {
    metrics: Metrics,
    /// The family that the lines belong to now.
    current: String,
    seen: HashSet<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').ok_or("no help text")?;
            let family = self.family(name)?;
            return if std::mem::replace(&mut family.help, true) || text.is_empty() {
                Err("a second or empty help".into())
            } else {
                Ok(())
            };
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or("no type")?;
            if !["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind) {
                return Err("an unknown type".into());
            }
            let family = self.family(name)?;
            if !family.kind.is_empty() || !family.samples.is_empty() {
                return Err("a second or late type".into());
            }
            family.kind = kind.to_owned();
            return Ok(());
        }
        if line.starts_with('#') {
            return Err("a comment that is neither HELP nor TYPE".into());
        }
        let (series, value) = line.rsplit_once(' ').ok_or("no value")?;
        if !self.seen.insert(series.to_owned()) {
            return Err("the same series twice".into());
        }
        let sample = sample(series, value)?;
        let current = self.current.clone();
        let rest = sample
            .name
            .strip_prefix(&current)
            .ok_or("a sample outside of its family")?
            .to_owned();
        let family = self.family(&current)?;
        let suffixes: &[&str] = if family.kind == "histogram" {
            &["_bucket", "_sum", "_count"]
        } else {
            &[""]
        };
        if !suffixes.contains(&rest.as_str()) {
            return Err(format!("a sample that a {} does not have", family.kind));
        }
        family.samples.push(sample);
        Ok(())
    }

    /// The family of that name, which is the current one or a new one: the lines of a family stand together.
    fn family(&mut self, name: &str) -> Result<&mut Family, String> {
        if !is_name(name, true) {
            return Err("not a metric name".into());
        }
        if self.current != name {
            if self.metrics.families.contains_key(name) {
                return Err("a family in two places".into());
            }
            name.clone_into(&mut self.current);
        }
        Ok(self.metrics.families.entry(name.to_owned()).or_default())
    }
}

impl Family {
    fn check(&self, name: &str) -> Result<(), String> {
        if self.kind.is_empty() {
            return Err("no type".into());
        }
        if (self.kind == "counter") != name.ends_with("_total") {
            return Err(format!("a {} by that name", self.kind));
        }
        if self.kind == "counter" && self.samples.iter().any(|sample| sample.value < 0.0) {
            return Err("a negative counter".into());
        }
        if self.kind == "histogram" {
            self.check_histogram(name)
        } else {
            Ok(())
        }
    }

    /// Buckets rise in bound and count, the last is `+Inf`, and it agrees with `_count`.
    fn check_histogram(&self, name: &str) -> Result<(), String> {
        let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self
            .samples
            .iter()
            .filter(|sample| sample.name.ends_with("_bucket"))
        {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le").ok_or("a bucket without le")?;
            series
                .entry(labels)
                .or_default()
                .push((number(&bound)?, sample.value));
        }
        for (labels, buckets) in &series {
            if !buckets.is_sorted_by(|(bound, count), (next_bound, next_count)| {
                bound < next_bound && count <= next_count
            }) {
                return Err(format!("buckets out of order at {labels:?}"));
            }
            let of = |suffix: &str| {
                self.samples.iter().find(|sample| {
                    sample.name == format!("{name}{suffix}") && sample.labels == *labels
                })
            };
            let count = of("_count").ok_or("no _count")?.value;
            if buckets.last() != Some(&(f64::INFINITY, count)) {
                return Err(format!("the last bucket is not all at {labels:?}"));
            }
            let sum = of("_sum").ok_or("no _sum")?.value;
            if sum < 0.0 || (count == 0.0 && sum != 0.0) {
                return Err(format!("a sum of {sum} at {labels:?}"));
            }
        }
        Ok(())
    }
}

fn sample(series: &str, value: &str) -> Result<Sample, String> {
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (
            name,
            labels(rest.strip_suffix('}').ok_or("no closing brace")?)?,
        ),
        None => (series, BTreeMap::new()),
    };
    if !is_name(name, true) {
        return Err("not a metric name".into());
    }
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value: number(value)?,
    })
}

fn labels(mut text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text
            .split_once("=\"")
            .ok_or("a label without a quoted value")?;
        if !is_name(name, false) {
            return Err(format!("not a label name: {name:?}"));
        }
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().ok_or("a label value without an end")? {
                (at, '"') => break at,
                (_, '\\') => match chars.next() {
                    Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                    Some((_, 'n')) => value.push('\n'),
                    _ => return Err("an unknown escape".into()),
                },
                (_, plain) => value.push(plain),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label {name} twice"));
        }
        text = &rest[end + 1..];
        text = match text.strip_prefix(',') {
            Some(more) => more,
            None if text.is_empty() => text,
            None => return Err("no comma between labels".into()),
        };
    }
    Ok(labels)
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        _ => text
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .ok_or_else(|| format!("not a number: {text:?}")),
    }
}

fn is_name(name: &str, colons: bool) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    name.chars().all(known)
        && name
            .chars()
            .next()
            .is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_scrape_is_read() {
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\",y=\"q\\\"\"} 2\na_total{x=\"2\"} 3\n\n\
                    # TYPE s histogram\ns_bucket{le=\"0.5\"} 1\ns_bucket{le=\"+Inf\"} 2\ns_sum 1.5\ns_count 2\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.value("a_total", &[]), Some(5.0));
        assert_eq!(metrics.value("a_total", &[("y", "q\"")]), Some(2.0));
        assert_eq!(metrics.value("s_count", &[]), Some(2.0));
        assert_eq!(metrics.value("a_total", &[("x", "3")]), None);
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        let broken = [
            ("a 1\n", "sample before its type"),
            ("# TYPE a gauge\na 1", "no last newline"),
            ("# TYPE a gauge\na 1\na 2\n", "the same series twice"),
            ("# TYPE a gauge\na{x=1} 1\n", "unquoted label"),
            ("# TYPE a gauge\na NaN\n", "not finite"),
            (
                "# TYPE a gauge\n# TYPE b gauge\nb 1\na 1\n",
                "a sample outside of its family",
            ),
            ("# TYPE a counter\na 1\n", "a counter without _total"),
            ("# TYPE a_total gauge\na_total 1\n", "a gauge with _total"),
            (
                "# TYPE s histogram\ns_bucket{le=\"1\"} 1\ns_sum 1\ns_count 1\n",
                "no +Inf",
            ),
            (
                "# TYPE s histogram\ns_bucket{le=\"1\"} 2\ns_bucket{le=\"+Inf\"} 1\ns_sum 1\ns_count 1\n",
                "falling counts",
            ),
        ];
        for (text, why) in broken {
            assert!(Metrics::parse(text).is_err(), "{why}");
        }
    }
}
