//! Everything that is wrong with a file, each mistake with its place, what was expected and the way out. It only
//! holds and prints; what is a mistake is decided elsewhere.

use std::error::Error;
use std::fmt;

use crate::place::{Place, Source};

/// No more than this many mistakes are kept; the rest is counted.
pub(crate) const SHOWN_MAX: usize = 100;

/// The longest part of a source line that is shown, in characters.
const EXCERPT_MAX: usize = 120;

/// Every mistake of a file and its overrides, at least one. Those that [`crate::parse`] finds are in the order of their
/// places.
///
/// Printed in the form of the contract, one paragraph per mistake:
///
/// ```text
/// ringgate.yaml:2:29: no pool is called `bd`
///   2 |   db: { bind: ":5432", pool: bd }
///     |                              ^^
///   expected one of: db
///   did you mean `db`?
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    shown: Vec<Mistake>,
    more: usize,
}

impl Mistakes {
    /// A single mistake about the file as a whole, such as that it cannot be read.
    pub(crate) fn about_file(
        name: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let mistake = Mistake {
            place: name.to_owned(),
            what: what.into(),
            excerpt: None,
            advice: vec![advice.into()],
        };
        Self {
            shown: vec![mistake],
            more: 0,
        }
    }

    /// These mistakes, in their order, each once; `None` when there are none.
    pub fn of(mistakes: impl IntoIterator<Item = Mistake>) -> Option<Self> {
        let mut all = Self {
            shown: Vec::new(),
            more: 0,
        };
        for mistake in mistakes {
            if all.shown.contains(&mistake) {
                continue;
            }
            match all.shown.len() < SHOWN_MAX {
                true => all.shown.push(mistake),
                false => all.more += 1,
            }
        }
        (!all.shown.is_empty()).then_some(all)
    }

    /// The mistakes one by one; at most 100.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.shown.iter()
    }

    /// How many mistakes there are, including those beyond the 100 that [`Self::iter`] gives.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shown.len() + self.more
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Mistakes {
    /// All of them, a blank line between two, no newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.shown.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            mistake.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\n\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl Error for Mistakes {}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `file:line:column`, or the flag (`--set key.path`), or only the file when it could not be read at all.
    pub place: String,
    /// What is wrong, in one clause.
    pub what: String,
    /// The source line with the place marked; `None` when there is no line to show.
    pub excerpt: Option<Excerpt>,
    /// What was expected, the valid words, "did you mean"; one sentence each.
    pub advice: Vec<String>,
}

/// A source line with a stretch of it marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line's number in the file, from 1; `None` for a flag.
    pub line: Option<usize>,
    /// The line, cut around the stretch when it is long; without control characters.
    pub text: String,
    /// How many characters of `text` stand before the stretch.
    pub before: usize,
    /// How many characters the stretch has, at least 1.
    pub width: usize,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        for advice in &self.advice {
            write!(f, "\n  {advice}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Excerpt {
    /// Two lines: the source, and the carets under the stretch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.map(|line| line.to_string()).unwrap_or_default();
        let margin = number.len();
        let blanks = " ".repeat(self.before);
        let carets = "^".repeat(self.width);
        writeln!(f, "{}", format!("  {number} | {}", self.text).trim_end())?;
        write!(f, "  {:margin$} | {blanks}{carets}", "")
    }
}

impl Excerpt {
    fn of(source: &Source, place: Place) -> Self {
        let line = source.line_at(place);
        let shown = |character: char| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        };
        let stretch_end = line.column - 1 + line.width.min(EXCERPT_MAX / 2);
        let skipped = if stretch_end > EXCERPT_MAX {
            stretch_end - EXCERPT_MAX / 2 - line.width.min(EXCERPT_MAX / 2)
        } else {
            0
        };
        let mut text: String = line
            .text
            .chars()
            .skip(skipped)
            .take(EXCERPT_MAX)
            .map(shown)
            .collect();
        if line.text.chars().nth(skipped + EXCERPT_MAX).is_some() {
            text.push('…');
        }
        let mut before = line.column - 1 - skipped;
        if skipped > 0 {
            text.insert(0, '…');
            before += 1;
        }
        Self {
            line: source.has_lines.then_some(line.number),
            text,
            before,
            width: line.width.min(EXCERPT_MAX / 2),
        }
    }
}

/// A mistake before it is made readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Where.
    pub(crate) place: Place,
    /// What is wrong, in one clause.
    pub(crate) what: String,
    /// What helps to mend it.
    pub(crate) advice: Vec<String>,
}

impl Finding {
    /// `what` is wrong at `place`, and `advice` helps to mend it.
    pub(crate) fn new(
        place: Place,
        what: impl Into<String>,
        advice: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            place,
            what: what.into(),
            advice: advice.into_iter().map(Into::into).collect(),
        }
    }

    /// The mistake with its place in one of these texts.
    pub(crate) fn readable(self, sources: &[Source]) -> Mistake {
        let source = &sources[self.place.source];
        Mistake {
            place: source.describe(self.place),
            what: self.what,
            excerpt: Some(Excerpt::of(source, self.place)),
            advice: self.advice,
        }
    }
}

/// Gathers mistakes while a file is read.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    sources: &'a [Source],
    found: Vec<Finding>,
    more: usize,
}

impl<'a> Collector<'a> {
    /// An empty collection of mistakes in these texts.
    pub(crate) fn new(sources: &'a [Source]) -> Self {
        Self {
            sources,
            found: Vec::new(),
            more: 0,
        }
    }

    /// Whether further mistakes are only counted; what costs time to say better is then left unsaid.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= SHOWN_MAX
    }

    /// Notes one mistake. The same words about the same place (a block that an alias repeats) are one mistake.
    pub(crate) fn add(&mut self, finding: Finding) {
        if self.found.contains(&finding) {
            return;
        }
        if self.is_full() {
            self.more += 1;
        } else {
            self.found.push(finding);
        }
    }

    /// `file:line:column` of a place, for a mistake that speaks about two of them.
    pub(crate) fn describe(&self, place: Place) -> String {
        self.sources[place.source].describe(place)
    }

    /// What was found; `None` when nothing was.
    pub(crate) fn finish(mut self) -> Option<Mistakes> {
        if self.found.is_empty() {
            return None;
        }
        self.found.sort_by_key(|finding| finding.place);
        let readable = |finding: Finding| finding.readable(self.sources);
        Some(Mistakes {
            shown: self.found.into_iter().map(readable).collect(),
            more: self.more,
        })
    }
}
