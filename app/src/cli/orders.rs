//! `tiffin orders`: what was ordered, and what staff do with an order when something went wrong.

mod list;

use std::process::ExitCode;

use domain::{
    ActorId, DishId, Money, OrderId, ServingId, TenantId,
    order::{LineCount, RefundReason},
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::{
    admin_socket::{self, AdminRequest},
    config::{Config, usage},
    ordering::{OrderAnswer, OrderRequest, OrderWork, Part, Portion, Refund},
    output,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Whose they are [default: the only tenant there is]
    #[arg(long, value_name = "UUID", global = true)]
    tenant: Option<TenantId>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the orders of a day, now or as they were
    List(list::Args),
    /// Cancel an order before its pickup and refund it
    Cancel {
        order: OrderId,
        /// Who gives it up: the canteen may until pickup, the diner until the kitchen locks
        #[arg(long, value_name = "WHO", default_value = "canteen")]
        by: By,
        #[command(flatten)]
        who: Who,
    },
    /// Refund an order: all that is left of it, some portions, or an amount
    Refund(RefundArgs),
    /// Nobody came for an order: charge what its serving says, refund the rest
    NoShow {
        order: OrderId,
        #[command(flatten)]
        who: Who,
    },
    /// The till has the money of an order that is paid there
    RecordPayment {
        order: OrderId,
        #[command(flatten)]
        who: Who,
    },
    /// Stop the sale of a serving, or of one dish of it, and refund every order that had it
    Withdraw {
        serving: ServingId,
        /// Only this dish
        #[arg(long, value_name = "UUID")]
        dish: Option<DishId>,
        #[command(flatten)]
        who: Who,
    },
}

#[derive(Debug, clap::Args)]
struct RefundArgs {
    order: OrderId,
    /// Portions of a line, as INDEX or INDEX:QUANTITY, lines counted from 0; may be repeated
    #[arg(long, value_name = "LINE", conflicts_with = "amount")]
    line: Vec<String>,
    /// An amount in major units, with the currency: "12.50 CNY", spread over the lines
    #[arg(long, value_name = "AMOUNT")]
    amount: Option<String>,
    /// Index of a tender that the amount goes to first; may be repeated
    #[arg(long, value_name = "TENDER", requires = "amount")]
    first_to: Vec<u8>,
    /// What for; has to be said after the meal, and is a complaint before it
    #[arg(long, value_name = "REASON")]
    reason: Option<Reason>,
    /// A UUID of your own making; the same again is the same refund
    #[arg(long, value_name = "UUID")]
    key: Uuid,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
struct Who {
    /// Who asks for it; the events name them
    #[arg(long, value_name = "UUID")]
    actor: ActorId,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum By {
    Canteen,
    Diner,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Reason {
    /// Something was wrong with the meal
    Complaint,
    /// The canteen did not have what was ordered
    Withdrawn,
    /// The canteen takes the sale back
    CancelledByCanteen,
    /// Nobody came for it, and its canteen does not charge all of it
    NoShow,
}

impl From<Reason> for RefundReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Complaint => RefundReason::Complaint,
            Reason::Withdrawn => RefundReason::Withdrawn,
            Reason::CancelledByCanteen => RefundReason::CancelledByCanteen,
            Reason::NoShow => RefundReason::NoShow,
        }
    }
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let tenant = args.tenant;
    let (who, work) = match args.command {
        Command::List(args) => return list::run(tenant, args, config).await,
        Command::Cancel { order, by, who } => {
            let by = match by {
                By::Canteen => RefundReason::CancelledByCanteen,
                By::Diner => RefundReason::CancelledByDiner,
            };
            (who, OrderWork::Cancel { order, by })
        }
        Command::Refund(RefundArgs { order, line, amount, first_to: first, reason, key, who }) => {
            let what = match amount {
                Some(amount) => Portion::Amount { amount: super::amount(&amount)?, first },
                None if line.is_empty() => Portion::Rest,
                None => Portion::Lines(line.iter().map(|text| portions(text)).collect::<anyhow::Result<_>>()?),
            };
            (who, OrderWork::Refund { order, what, reason: reason.map(RefundReason::from), key })
        }
        Command::NoShow { order, who } => (who, OrderWork::NoShow(order)),
        Command::RecordPayment { order, who } => (who, OrderWork::RecordPayment(order)),
        Command::Withdraw { serving, dish, who } => (who, OrderWork::Withdraw { serving, dish }),
    };
    let request = AdminRequest::Orders(OrderRequest { tenant, by: who.actor, work });
    let answer = admin_socket::carry_out(config, request).await?;
    let done: OrderAnswer = serde_json::from_value(answer.clone())?;
    if let OrderAnswer::Refused { code, message } = done {
        super::say_refused(config, &code, &message);
        return Ok(ExitCode::FAILURE);
    }
    if config.json {
        output::json_line(&answer)?;
    } else {
        say(done)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `INDEX` or `INDEX:QUANTITY`.
fn portions(text: &str) -> anyhow::Result<LineCount> {
    let (line, quantity) = text.split_once(':').unwrap_or((text, "1"));
    match (line.parse(), quantity.parse()) {
        (Ok(line), Ok(quantity)) if quantity > 0 => Ok(LineCount { line, quantity }),
        _ => Err(usage(format!("{text:?} does not name portions of a line, as \"0\" or \"0:2\" does"))),
    }
}

/// What was done, for people.
fn say(answer: OrderAnswer) -> anyhow::Result<()> {
    match answer {
        OrderAnswer::Order { order, status, total_minor, refunded_minor, currency, refunds } => {
            let money = |minor| Money::new(minor, currency);
            let (refunded, total) = (money(refunded_minor), money(total_minor));
            output::line(format_args!("Order {order} is {}; of its {total}, {refunded} are refunded.", word(status)))?;
            let mut table = output::table(["refund", "reason", "amount", "to", "which is"]);
            for refund in &refunds {
                for part in parts_of(refund) {
                    table.add_row([
                        refund.refund.to_string(),
                        word(refund.reason),
                        money(part.amount_minor).to_string(),
                        part.account.map(|account| account.to_string()).or(part.provider).unwrap_or_default(),
                        word(part.is),
                    ]);
                }
            }
            if !refunds.is_empty() {
                output::right(&mut table, &[2]);
                output::line(table)?;
            }
            Ok(())
        }
        OrderAnswer::Withdrawn { serving, dish, orders } => {
            let what = dish.map_or_else(|| "everything".to_owned(), |dish| format!("dish {dish}"));
            output::line(format_args!(
                "Serving {serving} does not sell {what} any more. What its {orders} orders still had of it is refunded."
            ))
        }
        OrderAnswer::Refused { message, .. } => output::line(message),
    }
}

/// Where it goes; one part under way as long as the payment has not said so.
fn parts_of(refund: &Refund) -> Vec<Part> {
    if !refund.parts.is_empty() {
        return refund.parts.clone();
    }
    let (amount_minor, is) = (refund.amount_minor, projections::diner_orders::Whereabouts::UnderWay);
    vec![Part { account: None, provider: None, amount_minor, is }]
}

/// As in JSON.
fn word(of: impl Serialize) -> String {
    json!(of).as_str().unwrap_or_default().to_owned()
}
