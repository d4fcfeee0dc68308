//! From YAML text to the tree of nodes. It refuses what a configuration has no use for (tags, several documents,
//! keys that are not words) and whatever would take unbounded room; it never interprets a scalar.

use std::collections::HashMap;

use granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle,
};

use crate::mistakes::Finding;
use crate::node::{Entry, Node, Value};
use crate::place::{Place, Source};
use crate::value::shown;

/// How deep lists and blocks may be nested, in each of YAML's two notations.
const DEPTH_MAX: usize = 32;

/// How many values a document may have once its aliases are written out.
const NODES_MAX: usize = 500_000;

/// What is said of a text that holds no keys, such as a file of another product.
pub(crate) const NO_MAPPING: &str = "this is not a YAML mapping";
/// What helps with that.
pub(crate) const FIRST_KEY: &str = "a file begins with `listeners:` or another key";

/// The tree of a text, with the mistakes that do not hide the rest of it.
#[derive(Debug)]
pub(crate) struct Document {
    /// The top of the tree: an empty block when the text has no content.
    pub(crate) root: Node,
    /// Such as a key that is set twice.
    pub(crate) findings: Vec<Finding>,
}

/// Reads the bytes from `from` on of `source`, the text with index `index`. The error is what stopped the reading,
/// after the mistakes before it.
pub(crate) fn parse(source: &Source, index: usize, from: usize) -> Result<Document, Vec<Finding>> {
    let mut options =
        granit_parser::options! { flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(&source.text[from..], options);
    let mut builder = Builder {
        source,
        index,
        from,
        parser,
        anchors: HashMap::new(),
        nodes_left: NODES_MAX,
        findings: Vec::new(),
    };
    match builder.document() {
        Ok(root) => Ok(Document {
            root,
            findings: builder.findings,
        }),
        Err(fatal) => {
            builder.findings.push(fatal);
            Err(builder.findings)
        }
    }
}

struct Builder<'a> {
    source: &'a Source,
    index: usize,
    from: usize,
    parser: Parser<'a, StrInput<'a>>,
    /// The nodes with an anchor, and of how many values each consists.
    anchors: HashMap<usize, (Node, usize)>,
    nodes_left: usize,
    findings: Vec<Finding>,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Finding> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    let place = self.place(span);
                    return Err(Finding::new(
                        place,
                        "a second document begins here",
                        ["a file holds one document"],
                    ));
                }
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, span)?),
            }
        }
        let top = Place::new(self.index, self.from, self.from);
        let nothing = Node {
            place: top,
            value: Value::Nothing,
        };
        let root = root.unwrap_or_else(|| nothing.clone());
        Ok(if matches!(root.value, Value::Nothing) {
            nothing
        } else {
            root
        })
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Finding> {
        let place = self.place(span);
        let before = self.nodes_left;
        self.take_nodes(1, place)?;
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.alias(anchor, place),
            Event::Scalar(text, style, anchor, tag) => {
                self.no_tag(tag.is_some(), place)?;
                let nothing = style == ScalarStyle::Plain
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if nothing {
                    Value::Nothing
                } else {
                    Value::Scalar(text.into_owned())
                };
                (anchor, Node { place, value })
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.no_tag(tag.is_some(), place)?;
                (anchor, self.list(style, place)?)
            }
            Event::MappingStart(style, anchor, tag) => {
                self.no_tag(tag.is_some(), place)?;
                (anchor, self.block(style, place)?)
            }
            _ => {
                return Err(Finding::new(
                    place,
                    "a value is missing here",
                    ["expected a value, a list or keys"],
                ));
            }
        };
        if anchor != 0 {
            self.anchors
                .insert(anchor, (node.clone(), before - self.nodes_left));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<Node, Finding> {
        let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
            return Err(Finding::new(
                place,
                "an alias stands within the value that it repeats",
                ["write the value out"],
            ));
        };
        self.take_nodes(size, place)?;
        Ok(node)
    }

    fn list(&mut self, style: StructureStyle, start: Place) -> Result<Node, Finding> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                let place = self.extent(style, start, span, start.part(0, 1));
                return Ok(Node {
                    place,
                    value: Value::List(items),
                });
            }
            items.push(self.node(event, span)?);
        }
    }

    fn block(&mut self, style: StructureStyle, start: Place) -> Result<Node, Finding> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, Place> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                let first = entries.first().map_or(start, |entry| entry.key_place);
                let place = self.extent(style, start, span, first);
                return Ok(Node {
                    place,
                    value: Value::Block(entries),
                });
            }
            let key_place = self.place(span);
            let key = match self.node(event, span)?.value {
                Value::Scalar(key) => Some(key),
                _ => {
                    let advice = ["a key is a word; put an address in brackets into quotes"];
                    self.findings
                        .push(Finding::new(key_place, "this cannot be a key", advice));
                    None
                }
            };
            let (event, span) = self.next()?;
            let mut node = self.node(event, span)?;
            if matches!(node.value, Value::Nothing) {
                node.place = key_place;
            }
            let Some(key) = key else { continue };
            match seen.get(&key) {
                Some(first) => {
                    let what = format!("{} is set twice in the same block", shown(&key));
                    let advice = format!("the first is at {}", self.source.describe(*first));
                    self.findings.push(Finding::new(key_place, what, [advice]));
                }
                None => {
                    seen.insert(key.clone(), key_place);
                    entries.push(Entry {
                        key,
                        key_place,
                        node,
                    });
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Finding> {
        match self.parser.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            // The parser ends by itself only after `StreamEnd`, which ends the loop in `document`.
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn take_nodes(&mut self, count: usize, place: Place) -> Result<(), Finding> {
        let Some(left) = self.nodes_left.checked_sub(count) else {
            let what = format!("more than {NODES_MAX} values up to here");
            return Err(Finding::new(
                place,
                what,
                ["an alias counts with all that it repeats"],
            ));
        };
        self.nodes_left = left;
        Ok(())
    }

    fn no_tag(&self, has_tag: bool, place: Place) -> Result<(), Finding> {
        match has_tag {
            true => Err(Finding::new(
                place,
                "a YAML tag (`!…`) stands before this",
                ["leave it out"],
            )),
            false => Ok(()),
        }
    }

    /// The place of a whole collection: in brackets, from the opening one to the closing one; otherwise `head`.
    fn extent(&self, style: StructureStyle, start: Place, end: Span, head: Place) -> Place {
        match style {
            StructureStyle::Flow => Place {
                end: self.place(end).end,
                ..start
            },
            StructureStyle::Block => head,
        }
    }

    fn place(&self, span: Span) -> Place {
        let start = span.start.byte_offset().unwrap_or(0);
        let end = span.end.byte_offset().unwrap_or(start);
        Place::new(self.index, self.from + start, self.from + end)
    }

    fn syntax(&self, error: &ScanError) -> Finding {
        if let Some(place) = self.first_words() {
            return Finding::new(place, NO_MAPPING, [FIRST_KEY]);
        }
        let at = self.from + error.marker().byte_offset().unwrap_or(0);
        let place = Place::new(self.index, at, at + 1);
        let line = self.source.line_at(place);
        let (what, advice) = explain(error.kind(), &error.info(), line.text);
        Finding::new(place, what, advice.map(str::to_owned))
    }

    /// The first line with content, when it is words without a colon: the text was never meant to be YAML with keys.
    fn first_words(&self) -> Option<Place> {
        let mut start = self.from;
        for line in self.source.text[self.from..].split_inclusive('\n') {
            let content = line.trim();
            if content.starts_with(|first: char| first.is_ascii_alphabetic()) {
                let end = start + line.len();
                return (!content.contains(':')).then(|| Place::new(self.index, start, end));
            }
            if !content.is_empty() && !content.starts_with('#') {
                return None;
            }
            start += line.len();
        }
        None
    }
}

/// The words of the parser in those of an operator, and what usually mends it.
fn explain(kind: &ErrorKind, info: &str, line: &str) -> (String, Option<&'static str>) {
    let (what, advice) = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => (
            "a tab where YAML allows only spaces".into(),
            Some("indent with spaces"),
        ),
        ErrorKind::UnclosedQuotedScalar => ("a quote is opened but never closed".into(), None),
        ErrorKind::UnclosedFlowCollection { open } => {
            (format!("`{open}` is opened but never closed"), None)
        }
        ErrorKind::UnexpectedEofFlowSequence => ("`[` is opened but never closed".into(), None),
        ErrorKind::UnexpectedEofFlowMapping => ("`{` is opened but never closed".into(), None),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            (format!("`{open}` is opened but `{close}` closes it"), None)
        }
        ErrorKind::MisplacedFlowCollectionEnd => {
            ("a bracket is closed that was not opened".into(), None)
        }
        ErrorKind::UnknownAnchor if line.contains("*:") => (
            "an alias (`*…`) without its anchor (`&…`) before it".into(),
            Some("for all addresses write the port alone, in quotes, such as \":443\""),
        ),
        ErrorKind::UnknownAnchor => (
            "an alias (`*…`) without its anchor (`&…`) before it".into(),
            Some("a value that begins with `*` must be in quotes"),
        ),
        ErrorKind::RecursionLimitExceeded => (
            format!("nested deeper than {DEPTH_MAX} levels"),
            Some("no key of the file is that deep"),
        ),
        ErrorKind::SimpleKeyExpected => (
            "a line without a key".into(),
            Some("expected `key: value`, with a space after the colon"),
        ),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => (
            "a `:` that ends no key".into(),
            Some(
                "expected `key: value`, with a space after the colon here and on the line before; \
                 a value with `: ` in it must be in quotes",
            ),
        ),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => (
            "this does not belong to the keys above it".into(),
            Some("the keys of one block begin in the same column, each on its line"),
        ),
        ErrorKind::ExpectedFlowMappingSeparator => {
            ("`,` or `}` is missing before this".into(), None)
        }
        ErrorKind::ExpectedFlowSequenceSeparator => {
            ("`,` or `]` is missing before this".into(), None)
        }
        _ => (format!("not valid YAML: {info}"), None),
    };
    let has_bare_ipv6 = line.contains("[::") || line.contains("]:");
    let quotes = "an address in brackets must be in quotes, such as \"[::1]:80\"";
    (what, if has_bare_ipv6 { Some(quotes) } else { advice })
}
