//! A provider without a network, for tests, the demo and a desk without a merchant's account. It keeps
//! its own books, and its weather is as bad as one asks for: the same seed has the same weather.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use domain::{
    Money, TenantId,
    trade::{PayBackNumber, TradeNumber},
};

use crate::{CallError, Handle, Notification, PaymentProvider, Return, Returning, Standing, Trade};

/// Most trades that it keeps; it refuses more.
const MAX_TRADES: usize = 100_000;

/// How often, of a thousand calls each, something goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// The call is lost before anything happens.
    pub lost_calls: u32,
    /// It happens, and the answer is lost.
    pub lost_answers: u32,
    /// The call is refused.
    pub refusals: u32,
    /// A return is accepted first and done when it is queried.
    pub slow_returns: u32,
    /// A return cannot be made.
    pub impossible_returns: u32,
    /// It takes no money at all, and says so.
    pub no_merchant: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Kept {
    trade: Trade,
    /// The transaction's number, once it is paid.
    paid: Option<String>,
    closed: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct KeptReturn {
    back: Return,
    state: Returning,
}

#[derive(Debug, Default)]
struct Books {
    weather: Weather,
    /// Drawn so far: the weather of the next call follows from this.
    draws: u64,
    trades: BTreeMap<(TenantId, TradeNumber), Kept>,
    returns: BTreeMap<(TenantId, PayBackNumber), KeptReturn>,
}

/// Plays a provider: one number is one trade, and gives money back once.
#[derive(Debug, Default)]
pub struct StandIn {
    seed: u64,
    books: Mutex<Books>,
}

/// What a call met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Met {
    Fair,
    LostCall,
    LostAnswer,
    Refusal,
}

impl StandIn {
    pub fn new(seed: u64, weather: Weather) -> Self {
        StandIn { seed, books: Mutex::new(Books { weather, ..Books::default() }) }
    }

    /// The weather turns.
    pub fn set_weather(&self, weather: Weather) {
        self.books().weather = weather;
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number below a thousand that follows from the seed and how many were drawn before.
    fn draw(&self, books: &mut Books) -> u32 {
        books.draws += 1;
        // SplitMix64.
        let mut z = self.seed.wrapping_add(books.draws.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % 1_000) as u32
    }

    fn meet(&self, books: &mut Books) -> Met {
        let Weather { lost_calls, lost_answers, refusals, .. } = books.weather;
        match self.draw(books) {
            drawn if drawn < lost_calls => Met::LostCall,
            drawn if drawn < lost_calls + lost_answers => Met::LostAnswer,
            drawn if drawn < lost_calls + lost_answers + refusals => Met::Refusal,
            _ => Met::Fair,
        }
    }

    /// The diner pays, with the code on the screen. What the provider then says by itself; none if there
    /// is nothing to pay.
    pub fn pay(&self, tenant: TenantId, number: TradeNumber) -> Option<Notification> {
        let mut books = self.books();
        let kept = books.trades.get_mut(&(tenant, number)).filter(|kept| !kept.closed && kept.paid.is_none())?;
        kept.paid = Some(format!("42{number}"));
        Some(Notification::Trade { tenant, number, standing: standing(kept) })
    }

    /// As [`StandIn::pay`], where the code alone is known: a trade's number names no tenant.
    pub fn scan(&self, number: TradeNumber) -> Option<Notification> {
        let tenant = self.books().trades.keys().find(|(_, known)| *known == number).map(|(tenant, _)| *tenant)?;
        self.pay(tenant, number)
    }

    /// Trades that wait for their diners.
    pub fn waiting(&self) -> Vec<(TenantId, TradeNumber)> {
        let open = |kept: &&Kept| !kept.closed && kept.paid.is_none();
        self.books().trades.values().filter(open).map(|kept| (kept.trade.tenant, kept.trade.number)).collect()
    }

    /// What it has collected of a tenant's diners and not given back, in minor units: what it owes.
    pub fn owes(&self, tenant: TenantId) -> i64 {
        let books = self.books();
        let paid = books.trades.values().filter(|kept| kept.trade.tenant == tenant && kept.paid.is_some());
        let paid: i64 = paid.map(|kept| kept.trade.amount.minor).sum();
        let done = |kept: &&KeptReturn| kept.back.tenant == tenant && kept.state == Returning::Done;
        let back: i64 = books.returns.values().filter(done).map(|kept| kept.back.amount.minor).sum();
        paid - back
    }

    /// What was collected for one trade less what went back of it, in the trade's currency.
    pub fn kept_of(&self, tenant: TenantId, number: TradeNumber) -> Option<Money> {
        let books = self.books();
        let kept = books.trades.get(&(tenant, number))?;
        let paid = if kept.paid.is_some() { kept.trade.amount.minor } else { 0 };
        let of =
            |one: &&KeptReturn| one.back.tenant == tenant && one.back.trade == number && one.state == Returning::Done;
        let back: i64 = books.returns.values().filter(of).map(|one| one.back.amount.minor).sum();
        Some(Money { minor: paid - back, ..kept.trade.amount })
    }
}

fn standing(kept: &Kept) -> Standing {
    match &kept.paid {
        Some(transaction) => Standing::Paid { amount: kept.trade.amount, transaction: transaction.clone() },
        None if kept.closed => Standing::Closed,
        None => Standing::Waiting(Some(Handle(format!("/stand-in/pay/{}", kept.trade.number)))),
    }
}

fn refused(code: &str) -> CallError {
    CallError::Refused { code: code.to_owned() }
}

/// What the caller hears of `answer`.
fn heard<T>(met: Met, answer: T) -> Result<T, CallError> {
    match met {
        Met::Fair => Ok(answer),
        Met::Refusal => Err(refused("SYSTEM_BUSY")),
        Met::LostCall | Met::LostAnswer => Err(CallError::Unknown { why: "no answer came in time".to_owned() }),
    }
}

#[async_trait]
impl PaymentProvider for StandIn {
    async fn collect(&self, trade: &Trade) -> Result<Standing, CallError> {
        let mut books = self.books();
        let met = self.meet(&mut books);
        let key = (trade.tenant, trade.number);
        if books.weather.no_merchant {
            return Err(refused("NO_AUTH"));
        }
        if matches!(met, Met::LostCall | Met::Refusal) {
            return heard(met, Standing::NoTrade);
        }
        if books.trades.len() >= MAX_TRADES && !books.trades.contains_key(&key) {
            return Err(refused("TOO_MANY_TRADES"));
        }
        let new = || Kept { trade: trade.clone(), paid: None, closed: false };
        let kept = books.trades.entry(key).or_insert_with(new);
        if kept.trade != *trade {
            return Err(refused("OUT_TRADE_NO_USED"));
        }
        heard(met, standing(kept))
    }

    async fn query(&self, trade: &Trade) -> Result<Standing, CallError> {
        let mut books = self.books();
        let met = self.meet(&mut books);
        heard(met, books.trades.get(&(trade.tenant, trade.number)).map_or(Standing::NoTrade, standing))
    }

    async fn close(&self, trade: &Trade) -> Result<Standing, CallError> {
        let mut books = self.books();
        let met = self.meet(&mut books);
        let Some(kept) = books.trades.get_mut(&(trade.tenant, trade.number)) else {
            return heard(met, Standing::NoTrade);
        };
        if matches!(met, Met::Fair | Met::LostAnswer) && kept.paid.is_none() {
            kept.closed = true;
        }
        heard(met, standing(kept))
    }

    async fn pay_back(&self, back: &Return) -> Result<Returning, CallError> {
        let mut books = self.books();
        let met = self.meet(&mut books);
        let key = (back.tenant, back.number);
        if matches!(met, Met::LostCall | Met::Refusal) {
            return heard(met, Returning::NoReturn);
        }
        if let Some(known) = books.returns.get(&key) {
            let same = known.back == *back;
            return if same { heard(met, known.state.clone()) } else { Err(refused("OUT_REFUND_NO_USED")) };
        }
        let paid = books.trades.get(&(back.tenant, back.trade)).filter(|kept| kept.paid.is_some());
        let Some(paid) = paid.map(|kept| kept.trade.amount) else { return Err(refused("TRADE_NOT_PAID")) };
        let returned =
            books.returns.values().filter(|kept| kept.back.tenant == back.tenant && kept.back.trade == back.trade);
        let returned: i64 = returned.map(|kept| kept.back.amount.minor).sum();
        if back.amount.currency != paid.currency || returned + back.amount.minor > paid.minor {
            return Err(refused("NOT_ENOUGH"));
        }
        let Weather { slow_returns, impossible_returns, .. } = books.weather;
        let state = match self.draw(&mut books) {
            drawn if drawn < slow_returns => Returning::Processing,
            drawn if drawn < slow_returns + impossible_returns => Returning::Impossible,
            _ => Returning::Done,
        };
        books.returns.insert(key, KeptReturn { back: back.clone(), state: state.clone() });
        heard(met, state)
    }

    async fn query_pay_back(&self, back: &Return) -> Result<Returning, CallError> {
        let mut books = self.books();
        let met = self.meet(&mut books);
        let Some(kept) = books.returns.get_mut(&(back.tenant, back.number)) else {
            return heard(met, Returning::NoReturn);
        };
        if kept.state == Returning::Processing {
            kept.state = Returning::Done;
        }
        heard(met, kept.state.clone())
    }
}

#[cfg(test)]
mod tests {
    use domain::{Currency, PaymentId, RefundId, Timestamp};
    use uuid::Uuid;

    use super::*;

    const TENANT: TenantId = TenantId(Uuid::from_u128(1));

    fn fen(minor: i64) -> Money {
        Money::new(minor, Currency::CNY)
    }

    fn trade() -> Trade {
        let number = TradeNumber { payment: PaymentId(Uuid::from_u128(7)), tender: 1 };
        Trade { tenant: TENANT, number, amount: fen(40), expires_at: Timestamp::from_seconds(250) }
    }

    fn back(number: u128, minor: i64) -> Return {
        let number = PayBackNumber { refund: RefundId(Uuid::from_u128(number)), tender: 1 };
        Return { tenant: TENANT, trade: trade().number, number, amount: fen(minor), of: fen(40) }
    }

    #[tokio::test]
    async fn one_number_is_one_trade() {
        let provider = StandIn::new(1, Weather::default());
        assert_eq!(provider.query(&trade()).await, Ok(Standing::NoTrade));
        let waiting = provider.collect(&trade()).await;
        assert!(matches!(waiting, Ok(Standing::Waiting(Some(_)))), "{waiting:?}");
        assert_eq!(provider.collect(&trade()).await, waiting);
        let other = Trade { amount: fen(41), ..trade() };
        assert_eq!(provider.collect(&other).await, Err(refused("OUT_TRADE_NO_USED")));
        assert!(provider.pay(TENANT, trade().number).is_some());
        assert_eq!(provider.pay(TENANT, trade().number), None, "nobody pays twice");
        assert_eq!(provider.owes(TENANT), 40);
        assert!(matches!(provider.close(&trade()).await, Ok(Standing::Paid { .. })), "it is too late to close");
    }

    #[tokio::test]
    async fn a_closed_trade_cannot_be_paid() {
        let provider = StandIn::new(1, Weather::default());
        provider.collect(&trade()).await.unwrap();
        assert_eq!(provider.close(&trade()).await, Ok(Standing::Closed));
        assert_eq!((provider.pay(TENANT, trade().number), provider.owes(TENANT)), (None, 0));
    }

    #[tokio::test]
    async fn money_goes_back_once_for_a_number_and_never_more_than_came() {
        let provider = StandIn::new(1, Weather::default());
        provider.collect(&trade()).await.unwrap();
        assert_eq!(provider.pay_back(&back(1, 10)).await, Err(refused("TRADE_NOT_PAID")));
        provider.pay(TENANT, trade().number);
        for _ in 0..2 {
            assert_eq!(provider.pay_back(&back(1, 30)).await, Ok(Returning::Done));
        }
        assert_eq!(provider.pay_back(&back(1, 29)).await, Err(refused("OUT_REFUND_NO_USED")));
        assert_eq!(provider.pay_back(&back(2, 11)).await, Err(refused("NOT_ENOUGH")));
        assert_eq!((provider.owes(TENANT), provider.kept_of(TENANT, trade().number)), (10, Some(fen(10))));
    }

    #[tokio::test]
    async fn the_same_seed_has_the_same_weather() {
        let weather = Weather { lost_calls: 200, lost_answers: 200, refusals: 200, ..Weather::default() };
        let mut heard = Vec::new();
        for _ in 0..2 {
            let provider = StandIn::new(9, weather);
            let mut answers = Vec::new();
            for _ in 0..50 {
                answers.push(provider.query(&trade()).await);
            }
            heard.push(answers);
        }
        assert_eq!(heard[0], heard[1]);
        assert!(heard[0].iter().any(Result::is_err) && heard[0].iter().any(Result::is_ok));
    }
}
