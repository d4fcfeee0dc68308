//! Why the thing asked for failed, in words for the operator. It never decides the exit code: a failure is always 1,
//! and wrong usage (2) never gets this far.

use std::fmt::Display;
use std::io::{self, Write};

use ringgate_config::Mistakes;

/// What the operator is told on the standard error before the process ends with 1.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A failure with this cause; one or more sentences that also name the way out.
    pub(crate) fn new(cause: impl Display) -> Self {
        Self(format!("error: {cause}"))
    }

    /// The same failure with one more line of advice.
    pub(crate) fn with_advice(self, advice: impl Display) -> Self {
        Self(format!("{}\n  {advice}", self.0))
    }

    /// Writes the failure to the standard error; a closed one is nobody's loss.
    pub(crate) fn tell(&self) {
        let _ = writeln!(io::stderr().lock(), "{}", self.0);
    }
}

impl From<Mistakes> for Failure {
    /// Every mistake with its place, and nothing around them that an editor would trip over.
    fn from(mistakes: Mistakes) -> Self {
        Self(mistakes.to_string())
    }
}
