//! `tiffin demo`.

use std::{process::ExitCode, sync::Arc};

use clap::builder::RangedU64ValueParser;

use crate::{
    cli::serve::{self, Serving, Signals},
    config::{Config, Listen, Payments, StoreAddress, usage},
    demo::{self, DemoClock, Lunch, Outcome},
    output,
    wiring::House,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    listen: Listen,
    /// How many orders the lunch has
    #[arg(long, value_name = "N", default_value_t = 3_000, value_parser = RangedU64ValueParser::<u64>::new().range(100..=200_000))]
    orders: u64,
    /// The same seed makes the same lunch
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// End after the lunch instead of serving on
    #[arg(long)]
    exit: bool,
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    serve::check(config)?;
    let store = demo::store(config, config.store == StoreAddress::standard())?;
    let payments = Payments::StandIn;
    let config = Config { store, payments, ..config.clone() }.listening(&args.listen);
    let mut signals = Signals::new()?;
    let clock = Arc::new(DemoClock::new());
    let house = tokio::select! {
        opened = House::open_with(&config, Arc::clone(&clock) as Arc<_>) => opened?,
        signal = signals.next() => return Err(ended(signal)),
    };
    if house.store.head().await? > 0 {
        house.close().await?;
        return Err(usage(format!(
            "{} has a log, and the demo touches none but its own; name an empty database",
            config.store
        )));
    }
    if !config.json {
        output::note(format_args!("A lunch of {} orders in {}, seed {}", args.orders, config.store, args.seed));
    }
    if args.exit {
        once(house, clock, &args, &config, signals).await
    } else {
        on(house, clock, &args, &config, signals).await
    }
}

/// Serves the lunch and ends.
async fn once(
    house: House,
    clock: Arc<DemoClock>,
    args: &Args,
    config: &Config,
    mut signals: Signals,
) -> anyhow::Result<ExitCode> {
    let served = tokio::select! {
        served = demo::serve(&house, clock, args.seed, args.orders as usize) => served,
        why = house.failed() => Err(anyhow::anyhow!("{why}")),
        signal = signals.next() => Err(ended(signal)),
    };
    let (lunch, outcome, _) = house.close_after(served).await?;
    tell(&lunch, &outcome, config)
}

/// Serves the lunch, then whoever asks.
async fn on(
    house: House,
    clock: Arc<DemoClock>,
    args: &Args,
    config: &Config,
    mut signals: Signals,
) -> anyhow::Result<ExitCode> {
    let serving = tokio::select! {
        started = Serving::start(house, config) => started?,
        signal = signals.next() => return Err(ended(signal)),
    };
    let served = tokio::select! {
        served = demo::serve(&serving.house, clock, args.seed, args.orders as usize) => served,
        why = serving.house.failed() => Err(anyhow::anyhow!("{why}")),
        signal = signals.next() => Err(ended(signal)),
    };
    let (lunch, outcome, invitation) = match served {
        Ok(served) => served,
        Err(error) => {
            let stopped = serving.stop().await;
            return Err(stopped.err().map_or(error, |also| anyhow::anyhow!("{also:#}")));
        }
    };
    let code = tell(&lunch, &outcome, config)?;
    let address = serving.address.to_string();
    if config.json {
        output::json_line(&invitation.json(&lunch, &serving.issuer, &address)?)?;
    } else {
        invitation.show(&lunch, &serving.issuer, &address, &config.store)?;
    }
    serving.until_stopped(signals).await?;
    Ok(code)
}

fn ended(signal: &str) -> anyhow::Error {
    anyhow::anyhow!("ended by {signal} before the lunch was over")
}

fn tell(lunch: &Lunch, outcome: &Outcome, config: &Config) -> anyhow::Result<ExitCode> {
    if config.json {
        let mut json = outcome.json();
        json["store"] = config.store.to_string().into();
        json["tenant"] = lunch.tenant.to_string().into();
        output::json_line(&json)?;
    } else {
        outcome.show(lunch)?;
    }
    Ok(ExitCode::from(u8::from(!outcome.is_sound())))
}
