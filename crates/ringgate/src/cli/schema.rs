//! `ringgate schema`: the JSON Schema of the configuration file, for editors.

use clap::Args;

use crate::failure::Failure;
use crate::print::print;

/// Print the JSON Schema of the configuration file
#[derive(Args, Debug)]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn act(self) -> Result<(), Failure> {
        print(&format!("{:#}", ringgate_config::schema()))
    }
}
