//! Runs the measurement of commands by itself: `--store sqlite:DIR`, and as its help says.

use std::sync::Arc;

use clap::Parser;
use store::{SqliteLog, SqliteMode};
use tiffin_benches::{Log, commands};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    store: String,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bench: commands::CommandsArgs,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let folder = std::path::PathBuf::from(args.store.trim_start_matches("sqlite:"));
    let store = Arc::new(SqliteLog::open(&folder, SqliteMode::ReadWrite)?);
    let counted = Arc::clone(&store);
    let log = Log {
        store,
        syncs: Arc::new(move || counted.syncs()),
        folder: Some(folder),
        tell: Arc::new(|stage| eprintln!("{stage}")),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(commands::run(&args.bench, &log))?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
