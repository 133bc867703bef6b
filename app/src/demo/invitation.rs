//! What to try once the lunch is over: tokens and queries that work as they are printed.

use std::time::Duration;

use domain::{DinerId, ServingId};
use graphql::{
    NodeId,
    identity::{Identity, Issuer, Role},
};
use jiff::civil;
use serde_json::{Value, json};

use super::{
    lunch::{Lunch, actor, diner},
    script::RACED,
};
use crate::{config::StoreAddress, output::line};

/// How long the tokens are good for.
const TOKENS_LAST: Duration = Duration::from_secs(12 * 3_600);

/// The next lunch, and who may try it.
pub struct Invitation {
    date: civil::Date,
    /// Of the first canteen: the lunch that was, and the next one.
    past: ServingId,
    next: ServingId,
    dish: NodeId,
    diner: DinerId,
}

/// A query with the token that it needs.
struct Query {
    what: &'static str,
    token: &'static str,
    document: String,
}

impl Invitation {
    /// Opens the next lunch to orders.
    pub async fn prepare(lunch: &Lunch) -> anyhow::Result<Invitation> {
        let (date, servings) = lunch.open_next().await?;
        let first = lunch.canteens.first().zip(servings.first());
        let Some((canteen, next)) = first else { anyhow::bail!("the demo has no canteen") };
        // Whoever has most can afford it.
        let richest =
            (0..lunch.script.diners.len()).max_by_key(|index| lunch.script.diners[*index].wallet).unwrap_or(0);
        Ok(Invitation {
            date,
            past: canteen.serving,
            next: *next,
            dish: NodeId::Dish(canteen.id, canteen.dishes[RACED + 2].0),
            diner: diner(lunch.tenant, richest),
        })
    }

    fn queries(&self) -> [Query; 3] {
        let (date, serving, dish) = (self.date, NodeId::Serving(self.next).encode().0, self.dish.encode().0);
        let (past, key) = (NodeId::Serving(self.past).encode().0, uuid::Uuid::now_v7());
        [
            Query {
                what: "A diner orders for the next lunch; pasted again it is the same order",
                token: "DINER",
                document: format!(
                    "mutation {{ placeOrder(idempotencyKey: \"{key}\", input: {{ serving: \"{serving}\", lines: [{{ dish: \"{dish}\", quantity: 1 }}] }}) {{ __typename ... on Order {{ id status total {{ amount currency }} lines {{ name quantity }} }} }} }}"
                ),
            },
            Query {
                what: "The canteen looks at what it sells next, and at how the last lunch went",
                token: "CANTEEN",
                document: format!(
                    "{{ servings(date: \"{date}\") {{ nodes {{ id canteen {{ name }} cutOff offers {{ name left price {{ amount }} }} }} }} dashboard(serving: \"{past}\") {{ orders {{ confirmed refused cancelled }} refusals {{ reason orders }} takings {{ net {{ amount currency }} }} }} }}"
                ),
            },
            Query {
                what: "Finance proves the books",
                token: "FINANCE",
                document: "{ trialBalance { currency accounts debits { amount } credits { amount } balance { amount } } journal(first: 3) { nodes { account amount { amount currency } } } }".to_owned(),
            },
        ]
    }

    fn tokens(&self, lunch: &Lunch, issuer: &Issuer) -> anyhow::Result<[(&'static str, String); 3]> {
        let tenant = lunch.tenant;
        let mint = |identity: &Identity| issuer.mint(identity, TOKENS_LAST);
        let finance = Identity::new(tenant, actor(tenant, "finance").0, [Role::Finance]);
        Ok([
            ("DINER", mint(&Identity::diner_of(tenant, self.diner))?),
            ("CANTEEN", mint(&Identity::staff_of(tenant, actor(tenant, "staff").0))?),
            ("FINANCE", mint(&finance)?),
        ])
    }

    /// For programs: where to ask, with what, and what to ask.
    pub fn json(&self, lunch: &Lunch, issuer: &Issuer, address: &str) -> anyhow::Result<Value> {
        let tokens: serde_json::Map<_, _> =
            self.tokens(lunch, issuer)?.into_iter().map(|(name, token)| (name.to_lowercase(), token.into())).collect();
        let queries =
            self.queries().map(|query| json!({ "token": query.token.to_lowercase(), "query": query.document }));
        let (url, date) = (format!("http://{address}/"), self.date.to_string());
        Ok(json!({ "address": address, "url": url, "date": date, "tokens": tokens, "queries": queries }))
    }

    /// For people, to be pasted into a shell.
    pub fn show(&self, lunch: &Lunch, issuer: &Issuer, address: &str, store: &StoreAddress) -> anyhow::Result<()> {
        line(format_args!("\nServing at http://{address}/ (GraphiQL). The next lunch takes orders: {}.", self.date))?;
        line("Paste into a shell:\n")?;
        for (name, token) in self.tokens(lunch, issuer)? {
            line(format_args!("{name}={token}"))?;
        }
        for query in self.queries() {
            line(format_args!("\n# {}", query.what))?;
            let body = json!({ "query": query.document }).to_string();
            line(format_args!(
                "curl -s http://{address}/graphql -H 'content-type: application/json' -H \"authorization: Bearer ${}\" -d '{body}'",
                query.token
            ))?;
        }
        if *store != StoreAddress::Memory {
            line(format_args!("\nBeside it: tiffin verify --store {store}, tiffin balances --store {store}, …"))?;
        }
        line("Ctrl-C ends it.")
    }
}
