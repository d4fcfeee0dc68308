//! What can be wrong with a file that the configuration names, in words for the operator. It knows where in the
//! configuration the file is named, never where in the configuration's text that is.

use std::fmt;

/// A problem with a file that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the configuration names the file: `listeners.web.tls.certs[1].key`.
    pub key: String,
    /// What is wrong; names the file.
    pub what: String,
    /// What to do about it.
    pub advice: Vec<String>,
}

impl fmt::Display for Problem {
    /// In one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)?;
        self.advice
            .iter()
            .try_for_each(|advice| write!(f, "; {advice}"))
    }
}

/// A problem before it is known which key of the configuration it is to be laid to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) advice: Vec<String>,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>) -> Fault {
        Fault {
            what: what.into(),
            advice: Vec::new(),
        }
    }

    /// The same with one more piece of advice.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Fault {
        self.advice.push(advice.into());
        self
    }

    /// Laid to a key.
    pub(crate) fn at(self, key: impl Into<String>) -> Problem {
        Problem {
            key: key.into(),
            what: self.what,
            advice: self.advice,
        }
    }
}
