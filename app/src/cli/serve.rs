//! `tiffin serve`.

use std::process::ExitCode;

use crate::config::{Config, Listen};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub listen: Listen,
}

pub async fn run(_args: Args, _config: &Config) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet")
}
