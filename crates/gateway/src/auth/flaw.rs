//! What is wrong with a file of credentials and where, and the shape that the lines of such files share: a name, a hash
//! and scopes. It never repeats what stands where a hash should be, for that may be the secret itself.

use std::fmt;

/// The longest file of credentials, in bytes.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// No more than this many flaws are told of one file.
const FLAWS_MAX: usize = 100;

const NAME_BYTES_MAX: usize = 64;
const SCOPES_MAX: usize = 64;
const SCOPE_BYTES_MAX: usize = 128;

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong, in one clause.
    pub what: String,
    /// What helps to mend it.
    pub advice: Option<&'static str>,
}

impl Flaw {
    pub(super) fn new(line: usize, column: usize, what: impl Into<String>) -> Flaw {
        Flaw {
            line,
            column,
            what: what.into(),
            advice: None,
        }
    }

    pub(super) fn advise(mut self, advice: &'static str) -> Flaw {
        self.advice = Some(advice);
        self
    }
}

impl fmt::Display for Flaw {
    /// `line:column: what`, without the advice.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

/// The flaws of a file, as many as are told.
#[derive(Debug, Default)]
pub(super) struct Flaws(Vec<Flaw>);

impl Flaws {
    pub(super) fn add(&mut self, flaw: Flaw) {
        if self.0.len() < FLAWS_MAX {
            self.0.push(flaw);
        }
    }

    /// What was read, when nothing was wrong.
    pub(super) fn none_or<T>(self, read: T) -> Result<T, Vec<Flaw>> {
        match self.0.is_empty() {
            true => Ok(read),
            false => Err(self.0),
        }
    }
}

/// A word of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) text: &'a str,
}

impl Word<'_> {
    pub(super) fn flaw(self, what: impl Into<String>) -> Flaw {
        Flaw::new(self.line, self.column, what)
    }
}

/// A line that says something.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: Word<'a>,
    pub(super) hash: Word<'a>,
    pub(super) scopes: Box<[Box<str>]>,
}

/// Reads every line of a file that is neither blank nor a comment. `shape` is what a line looks like.
pub(super) fn read<'a>(
    text: &'a str,
    shape: &'static str,
    mut take: impl FnMut(Entry<'a>) -> Result<(), Flaw>,
) -> Flaws {
    let mut flaws = Flaws::default();
    if text.len() > FILE_BYTES_MAX {
        flaws.add(Flaw::new(1, 1, "the file is longer than 16 MiB"));
        return flaws;
    }
    for (number, line) in (1..).zip(text.lines()) {
        let begin = line.trim_start();
        if begin.is_empty() || begin.starts_with('#') {
            continue;
        }
        if let Err(flaw) = entry(number, line, shape).and_then(&mut take) {
            flaws.add(flaw);
        }
    }
    flaws
}

fn entry<'a>(number: usize, line: &'a str, shape: &'static str) -> Result<Entry<'a>, Flaw> {
    let mut words = words(number, line);
    let end = Flaw::new(
        number,
        line.trim_end().chars().count() + 1,
        "the line ends too early",
    );
    let (Some(name), Some(hash)) = (words.next(), words.next()) else {
        return Err(end.advise(shape));
    };
    let scopes = words.next();
    if let Some(word) = words.next() {
        let flaw = word.flaw("nothing follows the scopes of a line");
        return Err(flaw.advise("scopes have commas between them and no spaces"));
    }
    check_name(name)?;
    let scopes = scopes.map_or(Ok([].into()), read_scopes)?;
    Ok(Entry { name, hash, scopes })
}

fn words(number: usize, line: &str) -> impl Iterator<Item = Word<'_>> {
    let is_blank = |character: char| character == ' ' || character == '\t';
    let mut rest = line.trim_end();
    let mut column = 1;
    std::iter::from_fn(move || {
        let word = rest.trim_start_matches(is_blank);
        column += rest.len() - word.len();
        let end = word.find(is_blank).unwrap_or(word.len());
        let (text, after) = word.split_at(end);
        let found = Word {
            line: number,
            column,
            text,
        };
        column += text.chars().count();
        rest = after;
        (!text.is_empty()).then_some(found)
    })
}

/// Whether a consumer may be called that.
pub fn is_name(name: &str) -> bool {
    let is_of_names =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'@');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_of_names)
}

/// Whether that is a scope of RFC 6749 §3.3 that a list with commas can hold.
pub fn is_scope(scope: &str) -> bool {
    let is_of_scopes = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e) && byte != b',';
    (1..=SCOPE_BYTES_MAX).contains(&scope.len()) && scope.bytes().all(is_of_scopes)
}

fn check_name(name: Word<'_>) -> Result<(), Flaw> {
    match is_name(name.text) {
        true => Ok(()),
        false => Err(name
            .flaw("this is no name")
            .advise("a name has 1 to 64 of the characters A-Z a-z 0-9 _ . - @")),
    }
}

fn read_scopes(word: Word<'_>) -> Result<Box<[Box<str>]>, Flaw> {
    if word.text.starts_with('[') {
        let flaw = word.flaw("scopes stand without brackets");
        return Err(flaw.advise("write them as `read,write`"));
    }
    let scopes: Box<[Box<str>]> = word.text.split(',').map(Into::into).collect();
    if scopes.len() > SCOPES_MAX {
        return Err(word.flaw("these are more than 64 scopes"));
    }
    match scopes.iter().all(|scope| is_scope(scope)) {
        true => Ok(scopes),
        false => Err(word.flaw("one of these is no scope").advise(
            "a scope has 1 to 128 visible characters without quotes, commas and backslashes",
        )),
    }
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn from_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()?;
    }
    Some(bytes)
}

/// Bytes as hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
