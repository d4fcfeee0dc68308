//! Where something stands: which text (the file or one override) and which bytes of it. It never looks into the
//! text except to find the line, for a mistake to show.

/// A range of bytes in one of the texts that the plan is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Index into the list of sources: 0 is the file, the overrides follow in their order.
    pub(crate) source: usize,
    /// The first byte.
    pub(crate) start: usize,
    /// The byte after the last one.
    pub(crate) end: usize,
}

impl Place {
    /// The place `start..end` of the source with this index.
    pub(crate) fn new(source: usize, start: usize, end: usize) -> Self {
        Self { source, start, end }
    }

    /// The part of this place that begins `from` bytes later and is `length` bytes long.
    pub(crate) fn part(self, from: usize, length: usize) -> Self {
        Self {
            start: self.start + from,
            end: self.start + from + length,
            ..self
        }
    }
}

/// A text that the plan is made from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// What the operator knows it by: the file's name, or the flag of an override.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
    /// Whether lines and columns mean something to the operator: they do in a file, not in a flag.
    pub(crate) has_lines: bool,
}

/// A line of a source and a stretch of it, counted in characters from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The line's number, from 1.
    pub(crate) number: usize,
    /// The line without its end.
    pub(crate) text: &'a str,
    /// The first character of the stretch, from 1.
    pub(crate) column: usize,
    /// How many characters the stretch has on this line, at least 1.
    pub(crate) width: usize,
}

impl Source {
    /// `file:line:column` of a place in this text, or the flag's name.
    pub(crate) fn describe(&self, place: Place) -> String {
        if !self.has_lines {
            return self.name.clone();
        }
        let line = self.line_at(place);
        format!("{}:{}:{}", self.name, line.number, line.column)
    }

    /// The line that `place` begins on.
    pub(crate) fn line_at(&self, place: Place) -> Line<'_> {
        let start = floor(&self.text, place.start);
        let line_start = self.text[..start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |newline| start + newline);
        let end = floor(&self.text, place.end).clamp(start, line_end);
        Line {
            number: self.text[..line_start].matches('\n').count() + 1,
            text: self.text[line_start..line_end]
                .trim_end_matches('\r')
                .trim_start_matches('\u{feff}'),
            column: self.text[line_start..start]
                .trim_start_matches('\u{feff}')
                .chars()
                .count()
                + 1,
            width: self.text[start..end].trim_end().chars().count().max(1),
        }
    }
}

/// The nearest character boundary at or before `index`.
fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}
