//! What came of the lunch: read from the views, and held against what the demo saw.

use std::collections::BTreeMap;

use domain::{Currency, Money};
use jiff::civil::Date;
use projections::{ViewError, Views, args, dashboard, menu};
use serde_json::{Value, json};

use super::{
    companies::{self, Movement, Used},
    lunch::Lunch,
    script::{RACED, WITHDRAWING, WITHDRAWN},
    tally::{self},
};
use crate::{
    output::{count, line, right, table},
    wiring::House,
};

/// What WeChat Pay owes.
const PHONE: &str = "clearing:wechat_pay";

/// The demo's lunch in numbers.
pub struct Outcome {
    pub seed: u64,
    views: dashboard::Totals,
    seen: tally::Totals,
    books: Books,
    /// Canteen and dish of what sold out.
    sold_out: Vec<(String, String, u32)>,
    used: Vec<Used>,
    statement: Vec<Movement>,
    closed_through: Option<Date>,
    oversold: u64,
    pub events: u64,
    rows_compared: u64,
    differing: u64,
    checks: Vec<Check>,
}

/// Something that must be so.
struct Check {
    what: &'static str,
    holds: bool,
    found: String,
}

/// The books by kind of account: debits, credits and balance in fen.
#[derive(Default)]
struct Books(BTreeMap<String, (i64, i64, i64)>);

impl Books {
    async fn read(views: &Views, lunch: &Lunch) -> Result<Books, ViewError> {
        let tenant = lunch.tenant;
        let rows = views.read(move |snapshot| {
            let sql =
                "SELECT CASE WHEN account LIKE 'subsidy:%' THEN 'subsidy' WHEN account LIKE 'wallet:%' THEN 'wallet'
                              WHEN account LIKE 'canteen:%' THEN 'canteen' WHEN account LIKE 'company:%' THEN 'company'
                              WHEN account LIKE 'transit:%' THEN 'transit'
                              WHEN account LIKE 'tax:%' THEN 'tax' ELSE account END AS kind,
                              sum(debits_minor), sum(credits_minor), sum(balance_minor)
                       FROM {balances} WHERE tenant = ?1 GROUP BY kind";
            snapshot.query(sql, args![tenant], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))
        });
        Ok(Books(rows.await?.into_iter().collect()))
    }

    fn debits(&self, kind: &str) -> i64 {
        self.0.get(kind).map_or(0, |(debits, ..)| *debits)
    }

    fn credits(&self, kind: &str) -> i64 {
        self.0.get(kind).map_or(0, |(_, credits, _)| *credits)
    }

    fn balance(&self, kind: &str) -> i64 {
        self.0.get(kind).map_or(0, |(.., balance)| *balance)
    }

    /// The sum over all accounts: zero, or the books are wrong.
    fn trial_balance(&self) -> i64 {
        self.0.values().map(|(.., balance)| balance).sum()
    }

    fn paid(&self) -> i64 {
        self.paid_by_subsidies() + self.debits("wallet") + self.debits("clearing:counter") + self.debits(PHONE)
    }

    /// What of the subsidies paid for orders: all that left them and did not expire.
    fn paid_by_subsidies(&self) -> i64 {
        self.debits("subsidy") - self.balance("breakage")
    }

    /// What left the orders' money and did not go to a canteen or into tax. What these gave up went back there.
    fn refunded(&self) -> i64 {
        self.debits("prepaid") - self.credits("canteen") - self.credits("tax")
    }
}

impl Outcome {
    /// Reads the views, which must have caught up, and refolds them.
    pub async fn read(house: &House, lunch: &Lunch, seed: u64) -> anyhow::Result<Outcome> {
        let views = dashboard::totals(&house.views, lunch.tenant).await?;
        let books = Books::read(&house.views, lunch).await?;
        let (mut sold_out, mut oversold) = (Vec::new(), 0);
        let servings = lunch.canteens.iter().map(|canteen| canteen.serving).collect();
        let menus = menu::serving_menus(&house.views, lunch.tenant, servings).await?;
        for (canteen, menu) in lunch.canteens.iter().zip(menus) {
            for offer in menu.offers {
                oversold += u64::from(offer.reserved > offer.portions);
                if offer.reserved == offer.portions && !offer.withdrawn {
                    sold_out.push((canteen.name.to_owned(), offer.name, offer.portions));
                }
            }
        }
        let events = house.store.head().await?;
        let report = projections::verify(house.store.clone(), &house.views, |_| {}).await?;
        let mut outcome = Outcome {
            seed,
            views,
            seen: lunch.tally.totals(),
            books,
            sold_out,
            used: companies::used(house, lunch).await?,
            statement: companies::statement(house, lunch).await?,
            closed_through: companies::closed_through(lunch).await?,
            oversold,
            events,
            rows_compared: report.rows,
            differing: report.differences.len() as u64,
            checks: vec![],
        };
        outcome.check(lunch);
        Ok(outcome)
    }

    fn paid(&self) -> i64 {
        self.views.takings.iter().map(|takings| takings.paid.minor).sum()
    }

    fn refunded(&self) -> i64 {
        self.views.takings.iter().map(|takings| takings.refunded.minor).sum()
    }

    fn check(&mut self, lunch: &Lunch) {
        let (views, seen, books) = (&self.views, &self.seen, &self.books);
        let recorded: BTreeMap<&str, u64> =
            views.refusals.iter().map(|(code, orders)| (code.as_str(), *orders)).collect();
        let raced = lunch.canteens.iter().all(|canteen| {
            let (_, dish, _) = &canteen.dishes[RACED];
            self.sold_out.iter().any(|(name, sold, _)| name == canteen.name && *sold == dish.name)
        });
        let mut checks = Vec::new();
        let mut check = |what, holds, found: String| checks.push(Check { what, holds, found });
        let trial = books.trial_balance();
        check("the trial balance is zero", trial == 0, yuan(trial));
        check("the views equal their refold", self.differing == 0, format!("{} differ", self.differing));
        check("no dish is oversold", self.oversold == 0, format!("{} are", self.oversold));
        check("what should sell out has sold out", raced, format!("{} did", self.sold_out.len()));
        let answered = seen.answered == lunch.script.arrivals.len() as u64;
        check("everybody was answered", answered, count(seen.answered));
        check("a repeated tap is answered alike", seen.taps_differ == 0, format!("{} were not", seen.taps_differ));
        check("every order came to its end", seen.open == 0, format!("{} did not", seen.open));
        let same = (views.confirmed, views.cancelled) == (seen.confirmed, seen.cancelled)
            && (views.picked_up, views.no_show) == (seen.collected, seen.no_show);
        check("the dashboard counts what the diners saw", same, format!("{views:?} against {seen:?}"));
        check("refusals are recorded as they were answered", recorded == seen.refused, format!("{recorded:?}"));
        let paid = (self.paid(), books.paid(), seen.paid_minor);
        check("takings, books and answers agree", paid.0 == paid.1 && paid.1 == paid.2, format!("{paid:?}"));
        let refunded = (self.refunded(), books.refunded());
        check("refunds are in the books", refunded.0 == refunded.1, format!("{refunded:?}"));
        let phone = (-books.balance(PHONE), lunch.phone.owes(lunch.tenant));
        let agreed = phone.0 == phone.1 && phone.0 > 0;
        check("WeChat Pay's books and ours agree", agreed, format!("{} against {}", yuan(phone.0), yuan(phone.1)));
        let held = books.balance("prepaid");
        check("nothing stays paid and not served", held == 0, yuan(held));
        let transit = books.balance("transit");
        check("no grant is on its way", transit == 0, yuan(transit));
        let lapsed: i64 = self.used.iter().map(|used| used.lapsed).sum();
        let breakage = books.balance("breakage");
        let expired = lapsed == breakage && lapsed > 0;
        check("what expired is in the books", expired, format!("{} against {}", yuan(lapsed), yuan(breakage)));
        // Who eats twice has more entries.
        let steps = ["granted for the day", "paid for lunch", "given back", "expired at midnight"];
        let all = steps.iter().all(|step| self.statement.iter().any(|one| one.what == *step));
        let nobody = self.statement.is_empty() && lunch.complained.get().is_none();
        let explained = nobody || all && self.statement.last().is_some_and(|last| last.balance == 0);
        check("a diner's subsidy is spent, given back and expired", explained, format!("{:?}", self.statement));
        let closed = self.closed_through == Some(lunch.date);
        check("the books of the day are closed", closed, format!("{:?}", self.closed_through));
        self.checks = checks;
    }

    /// Whether everything that must be so is so.
    pub fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    fn orders_per_second(&self) -> f64 {
        self.seen.answered as f64 / self.seen.seconds.max(1e-9)
    }

    /// Refusals by code: those recorded, and those at the door, of which nothing is recorded.
    fn refused(&self) -> BTreeMap<String, u64> {
        let mut refused: BTreeMap<String, u64> = self.views.refusals.iter().cloned().collect();
        for (code, orders) in &self.seen.turned_away {
            *refused.entry((*code).to_owned()).or_default() += orders;
        }
        refused
    }

    pub fn json(&self) -> Value {
        let (views, seen) = (&self.views, &self.seen);
        let checks = self.checks.iter().map(|check| (check.what.to_owned(), Value::from(check.holds)));
        let sum = |of: fn(&Used) -> i64| self.used.iter().map(of).sum::<i64>();
        json!({
            "seed": self.seed,
            "orders": {
                "asked": seen.answered, "placed": views.placed, "confirmed": views.confirmed,
                "refused": self.refused(), "refused_at_the_door": seen.turned_away,
                "cancelled": views.cancelled, "expired": views.expired,
                "picked_up": views.picked_up, "no_show": views.no_show, "repeated_taps": seen.taps_twice,
            },
            "money": {
                "currency": Currency::CNY, "paid_minor": self.paid(), "refunded_minor": self.refunded(),
                "deposited_minor": self.books.debits("bank"),
                "paid_from": {
                    "subsidy_minor": self.books.paid_by_subsidies(), "wallet_minor": self.books.debits("wallet"),
                    "counter_minor": self.books.debits("clearing:counter"),
                    "wechat_pay_minor": self.books.debits(PHONE),
                },
                "canteens_minor": self.books.balance("canteen"), "tax_minor": self.books.balance("tax"),
            },
            "subsidies": { "granted_minor": sum(|used| used.granted), "spent_minor": sum(|used| used.spent),
                "refunded_minor": sum(|used| used.refunded), "expired_minor": sum(|used| used.lapsed) },
            "trial_balance_minor": self.books.trial_balance(),
            "views_differing": self.differing,
            "events": self.events,
            "seconds": seen.seconds,
            "orders_per_second": self.orders_per_second(),
            "p50_ms": seen.p50_ms,
            "p99_ms": seen.p99_ms,
            "turned_back_overloaded": seen.overloaded,
            "checks": checks.collect::<serde_json::Map<_, _>>(),
            "sound": self.is_sound(),
        })
    }

    /// The one screen at the end.
    pub fn show(&self, lunch: &Lunch) -> anyhow::Result<()> {
        let (views, seen, books) = (&self.views, &self.seen, &self.books);
        line(format_args!(
            "Lunch of {} in {} canteens: {} orders of {} diners in {:.1} s ({}/s), answered in {:.1} ms (p50), {:.1} ms (p99)",
            lunch.date,
            lunch.canteens.len(),
            count(seen.answered),
            count(lunch.script.diners.len() as u64),
            seen.seconds,
            count(self.orders_per_second() as u64),
            seen.p50_ms,
            seen.p99_ms,
        ))?;
        let refused: u64 = self.refused().values().sum();
        let mut orders = table(["orders", "", "money", "CNY"]);
        right(&mut orders, &[1, 3]);
        let reasons =
            self.refused().into_iter().map(|(code, number)| (format!("  {}", code.to_lowercase()), count(number)));
        let left = [("confirmed".to_owned(), count(views.confirmed)), ("refused".to_owned(), count(refused))]
            .into_iter()
            .chain(reasons)
            .chain([
                ("cancelled".to_owned(), count(views.cancelled)),
                ("expired unpaid".to_owned(), count(views.expired)),
                ("collected".to_owned(), count(views.picked_up)),
                ("not come for".to_owned(), count(views.no_show)),
                ("tapped twice, ordered once".to_owned(), count(seen.taps_twice)),
            ]);
        let money = [
            ("paid", yuan(self.paid())),
            ("  from subsidies", yuan(books.paid_by_subsidies())),
            ("  from wallets", yuan(books.debits("wallet"))),
            ("  at the counter", yuan(books.debits("clearing:counter"))),
            ("  by WeChat Pay", yuan(books.debits(PHONE))),
            ("refunded", yuan(self.refunded())),
            ("owed to canteens", yuan(books.balance("canteen"))),
            ("owed in tax", yuan(books.balance("tax"))),
            ("subsidies expired", yuan(books.balance("breakage"))),
            ("left on subsidies", yuan(books.balance("subsidy"))),
            ("left in wallets", yuan(books.balance("wallet"))),
            ("trial balance", yuan(books.trial_balance())),
        ];
        let mut money = money.into_iter();
        for (label, number) in left {
            let (what, amount) = money.next().map_or((String::new(), String::new()), |(w, a)| (w.to_owned(), a));
            orders.add_row([label, number, what, amount]);
        }
        for (what, amount) in money {
            orders.add_row([String::new(), String::new(), what.to_owned(), amount]);
        }
        line(orders)?;
        let sold: Vec<String> =
            self.sold_out.iter().map(|(canteen, dish, portions)| format!("{dish} ({portions}, {canteen})")).collect();
        line(format_args!("Sold out: {}", sold.join(", ")))?;
        let canteen = &lunch.canteens[WITHDRAWING];
        let (_, withdrawn, _) = &canteen.dishes[WITHDRAWN];
        line(format_args!("Withdrawn in mid-lunch, its orders refunded: {} ({})", withdrawn.name, canteen.name))?;
        self.show_subsidies(lunch)?;
        let held = self.checks.iter().filter(|check| check.holds).count();
        line(format_args!(
            "{held} of {} checks hold: views against refold ({} rows of {} events), books, portions, repeats, answers",
            self.checks.len(),
            count(self.rows_compared),
            count(self.events)
        ))?;
        for check in self.checks.iter().filter(|check| !check.holds) {
            line(format_args!("  NOT so: {} ({})", check.what, check.found))?;
        }
        Ok(())
    }

    fn show_subsidies(&self, lunch: &Lunch) -> anyhow::Result<()> {
        let mut granted = table(["company", "grants", "diners", "granted", "spent", "given back", "expired", "left"]);
        right(&mut granted, &[2, 3, 4, 5, 6, 7]);
        for (company, used) in lunch.companies.iter().zip(&self.used) {
            let left = used.granted - used.spent + used.refunded - used.lapsed;
            let amounts = [used.granted, used.spent, used.refunded, used.lapsed, left].map(yuan);
            let named = [company.name.to_owned(), company.grants.to_owned(), count(company.diners)];
            granted.add_row(named.into_iter().chain(amounts));
        }
        line(granted)?;
        let moved: Vec<String> = self
            .statement
            .iter()
            .map(|one| format!("{} {} ({} left)", one.what, yuan(one.minor), yuan(one.balance)))
            .collect();
        if !moved.is_empty() {
            line(format_args!("One diner's subsidy, who complained about a dish: {}", moved.join(", ")))?;
        }
        match self.closed_through {
            Some(date) => line(format_args!(
                "The books are closed through {date}: what comes late is booked into the open period."
            )),
            None => Ok(()),
        }
    }
}

fn yuan(fen: i64) -> String {
    Money::new(fen, Currency::CNY).to_decimal().to_string()
}
