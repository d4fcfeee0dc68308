//! The flags that say which configuration is meant, the same for every verb that reads one.

use std::path::PathBuf;

use clap::Args;
use ringgate_config::{Override, Places, Plan};

use crate::failure::Failure;

/// A configuration file, and the keys that the command line sets instead of it.
#[derive(Args, Debug)]
pub(crate) struct File {
    /// The configuration file
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        default_value = "/etc/ringgate/ringgate.yaml"
    )]
    pub(crate) path: PathBuf,

    /// Set one key, whatever the file says: `--set log.level=debug`; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE", value_parser = Override::parse)]
    pub(crate) overrides: Vec<Override>,
}

impl File {
    /// The plan that the file and its overrides make, and the places of its values.
    ///
    /// # Errors
    /// With every mistake of both.
    pub(crate) fn load(&self) -> Result<(Plan, Places), Failure> {
        Ok(ringgate_config::load_with_places(
            &self.path,
            &self.overrides,
        )?)
    }
}
