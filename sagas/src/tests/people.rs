//! Who diners are: sealed, found, shown, erased.

use std::{sync::Arc, time::Duration};

use commands::{Failure, Request};
use domain::{
    AccountId, CompanyId, DinerId, Fact, TenantId,
    account::{AdjustReason, Command},
    details::Details,
    diner::{self, Diner, InTheWay},
    order::RefundReason,
    personal::{Person, WrongKey},
};
use jiff::civil::{Date, date};
use projections::diners::{self, Shown};
use store::{
    EventStore,
    keys::{Held, KeyError, KeyStore, Keyring, MemoryKeys},
};
use uuid::Uuid;

use super::{House, RICE, STAFF, TENANT, diner as id, fen, staff};
use crate::{Finance, Follower, Named, Naming, People, PersonalError, Subsidies};

const COMPANY: CompanyId = CompanyId(Uuid::from_u128(500));
const MONDAY: Date = date(2026, 11, 23);
/// A name that must stand nowhere in the clear.
const NAME: &str = "Ada Lovelace";

fn ada() -> Details {
    Details::new(NAME, Some("0042"), Some("+86 10 5550100")).unwrap()
}

fn person(number: u128) -> Person {
    Person { tenant: TENANT, diner: id(number) }
}

/// A house whose people have keys.
struct Home {
    house: House,
    keys: Arc<MemoryKeys>,
    people: People,
}

impl Home {
    async fn open() -> Home {
        let mut house = House::open(10, 10).await;
        let keys = Arc::new(MemoryKeys::default());
        let keyring = Keyring::new(Arc::clone(&keys) as _);
        let people = People::new(house.ordering.commands().clone(), house.views().await, Some(keyring));
        Home { house, keys, people }
    }

    async fn on_diner(&self, key: u128, number: u128, command: diner::Command) {
        self.house.ordering.commands().on_diner(staff("employ", key, &()), id(number), command).await.unwrap();
    }

    async fn join(&self, number: u128) {
        let join = diner::Command::Join { company: COMPANY, group: None, from: MONDAY };
        self.on_diner(number, number, join).await;
    }

    async fn leave(&self, number: u128) {
        self.on_diner(100 + number, number, diner::Command::Leave { on: MONDAY }).await;
    }

    async fn set(&self, key: u128, number: u128, details: Details) -> Result<bool, Failure<PersonalError>> {
        let done = self.people.set_details(staff("details", key, &()), id(number), details).await?;
        Ok(!done.repeated && !done.events.is_empty())
    }

    async fn erase(&self, key: u128, number: u128) -> Result<bool, Failure<PersonalError>> {
        let request = Request { at: self.house.ordering.commands().now(), ..staff("erase", key, &number) };
        let done = self.people.erase(request, id(number)).await?;
        Ok(!done.events.is_empty())
    }

    async fn head(&self) -> u64 {
        self.house.log.head().await.unwrap()
    }

    async fn shown(&mut self, number: u128) -> Shown {
        let views = self.house.views().await;
        views.wait_for(self.head().await, Duration::from_secs(60)).await.unwrap();
        let row = diners::of_id(&views, TENANT, id(number)).await.unwrap().unwrap();
        diners::open(self.people.keyring(), &[row]).await.unwrap().remove(0)
    }

    async fn whom(&self, number: &str) -> Option<DinerId> {
        People::find(self.people.keyring().unwrap(), TENANT, COMPANY, number).await.unwrap()
    }

    async fn held(&self, number: u128) -> Held {
        self.keys.find(&[person(number)]).await.unwrap().remove(0)
    }
}

#[tokio::test]
async fn details_are_sealed_shown_and_found_and_repeat_by_their_digest() {
    let mut home = Home::open().await;
    home.join(1).await;
    assert!(home.set(1, 1, ada()).await.unwrap());
    let head = home.head().await;
    // The same request, and the same details under another key.
    assert!(!home.set(1, 1, ada()).await.unwrap());
    assert!(!home.set(2, 1, ada()).await.unwrap());
    let other = Details::new("Eve", Some("0043"), None).unwrap();
    assert!(matches!(home.set(1, 1, other.clone()).await, Err(Failure::KeyReused)));
    assert_eq!(home.head().await, head);
    assert_eq!(home.shown(1).await, Shown::Known(ada()));
    assert_eq!((home.whom("0042").await, home.whom("0043").await), (Some(id(1)), None));
    assert!(home.set(3, 1, other).await.unwrap());
    assert_eq!((home.whom("0042").await, home.whom("0043").await), (None, Some(id(1))));
    // A late repeat of what was replaced since.
    assert!(!home.set(1, 1, ada()).await.unwrap());
    assert_eq!((home.whom("0042").await, home.whom("0043").await), (None, Some(id(1))));
    for row in home.house.log.read_all(1, 1_000).await.unwrap() {
        let text = String::from_utf8(row.payload).unwrap();
        assert!(!text.contains("Ada") && !text.contains("0042"), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused_and_appends_nothing() {
    let home = Home::open().await;
    home.join(1).await;
    home.join(2).await;
    home.set(1, 1, ada()).await.unwrap();
    let head = home.head().await;
    let unknown = home.set(2, 9, ada()).await;
    assert!(matches!(unknown, Err(Failure::Refused(PersonalError::Diner(diner::Error::NotKnown)))), "{unknown:?}");
    let taken = home.set(3, 2, ada()).await;
    assert!(matches!(taken, Err(Failure::Refused(PersonalError::NumberTaken))), "{taken:?}");
    let commands = home.house.ordering.commands().clone();
    let keyless = People::new(commands, home.house.views.clone().unwrap(), None);
    let no_keys = keyless.set_details(staff("details", 4, &()), id(1), ada()).await;
    assert!(matches!(no_keys, Err(Failure::Refused(PersonalError::Keys(KeyError::Missing(_))))), "{no_keys:?}");
    let no_keys = keyless.erase(staff("erase", 5, &()), id(1)).await;
    assert!(matches!(no_keys, Err(Failure::Refused(PersonalError::Keys(KeyError::Missing(_))))), "{no_keys:?}");
    assert_eq!(home.head().await, head);
}

#[tokio::test]
async fn an_erasure_waits_for_balance_orders_and_employment() {
    let home = Home::open().await;
    home.join(1).await;
    home.set(1, 1, ada()).await.unwrap();
    home.house.fund(1, 0, 5_000).await;
    let (order, _) = home.house.place(1, 1, &[(RICE, 1)]).await;
    let head = home.head().await;
    let why = async |key| match home.erase(key, 1).await {
        Err(Failure::Refused(PersonalError::Diner(diner::Error::NotYet(why)))) => why,
        other => panic!("{other:?}"),
    };
    let left = fen(5_000 - super::RICE_PRICE);
    let balance = InTheWay::Balance { account: AccountId::Wallet(id(1)), posted: left, held: fen(0) };
    let employed = InTheWay::Employed { since: MONDAY };
    assert_eq!(why(1).await, [employed, balance, InTheWay::Orders { open: 1 }]);
    assert_eq!(home.head().await, head, "nothing was appended");
    assert!(matches!(home.held(1).await, Held::Key(_)));
    home.leave(1).await;
    assert_eq!(why(2).await, [balance, InTheWay::Orders { open: 1 }]);
    home.house.ordering.cancel_order(staff("cancel", 1, &()), order, RefundReason::CancelledByDiner).await.unwrap();
    let whole = InTheWay::Balance { account: AccountId::Wallet(id(1)), posted: fen(5_000), held: fen(0) };
    assert_eq!(why(3).await, [whole]);
    let empty = Command::Adjust { adjustment: Uuid::from_u128(77), by: fen(-5_000), reason: AdjustReason::Goodwill };
    let commands = home.house.ordering.commands();
    commands.on_account(staff("adjust", 1, &()), AccountId::Wallet(id(1)), empty).await.unwrap();
    assert!(home.erase(4, 1).await.unwrap());
}

#[tokio::test]
async fn who_is_erased_is_gone_from_every_answer_and_stays_so() {
    let mut home = Home::open().await;
    home.join(1).await;
    home.set(1, 1, ada()).await.unwrap();
    home.leave(1).await;
    let before = home.house.views().await;
    before.wait_for(home.head().await, Duration::from_secs(60)).await.unwrap();
    let row = diners::of_id(&before, TENANT, id(1)).await.unwrap().unwrap();
    assert!(home.erase(1, 1).await.unwrap());
    let head = home.head().await;
    assert_eq!(home.held(1).await, Held::Erased);
    assert_eq!(home.whom("0042").await, None);
    // Also where a view still has the old row.
    assert_eq!(diners::open(home.people.keyring(), &[row]).await.unwrap(), [Shown::Erased]);
    assert_eq!(home.shown(1).await, Shown::Erased);
    assert!(home.erase(1, 1).await.unwrap(), "the first outcome again");
    assert!(!home.erase(2, 1).await.unwrap(), "another request: it is done already");
    let again = home.set(9, 1, ada()).await;
    assert!(matches!(again, Err(Failure::Refused(PersonalError::Diner(diner::Error::Erased)))), "{again:?}");
    assert_eq!(home.head().await, head);
}

#[tokio::test]
async fn a_crash_between_event_and_key_is_finished_by_the_follower_or_a_repeat() {
    for by_the_follower in [true, false] {
        let mut home = Home::open().await;
        home.join(1).await;
        home.set(1, 1, ada()).await.unwrap();
        home.leave(1).await;
        // The first step alone, as a crash would leave it.
        let request = staff("erase", 1, &1_u128);
        home.people.record_erasure(request, id(1), Default::default()).await.unwrap();
        assert!(matches!(home.held(1).await, Held::Key(_)));
        let views = home.house.views().await;
        if by_the_follower {
            let commands = home.house.ordering.commands().clone();
            let subsidies = Subsidies::new(commands.clone(), views.clone());
            let finance = Finance::new(commands, views);
            let follower = Follower::new(home.house.ordering.clone(), subsidies, finance).erasing(home.people.clone());
            let following = tokio::spawn(follower.run(home.house.stop.clone()));
            let gone = async {
                while home.held(1).await != Held::Erased {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
            home.house.stop.cancel();
            following.await.unwrap();
        } else {
            home.erase(1, 1).await.unwrap();
            assert_eq!(home.held(1).await, Held::Erased);
        }
        assert_eq!(home.whom("0042").await, None);
    }
}

#[tokio::test]
async fn keys_that_a_backup_brings_back_are_deleted_at_the_next_start() {
    let mut home = Home::open().await;
    home.join(1).await;
    home.set(1, 1, ada()).await.unwrap();
    home.leave(1).await;
    home.erase(1, 1).await.unwrap();
    let restored = Arc::new(MemoryKeys::default());
    restored.make(&[person(1), person(2)]).await.unwrap();
    let views = home.house.views().await;
    views.wait_for(home.head().await, Duration::from_secs(60)).await.unwrap();
    let keyring = Keyring::new(Arc::clone(&restored) as _);
    let people = People::new(home.house.ordering.commands().clone(), views, Some(keyring));
    let erased_at = home.head().await;
    assert_eq!(people.finish_erasures(0).await.unwrap(), erased_at);
    let held = restored.find(&[person(1), person(2)]).await.unwrap();
    assert!(matches!(held[..], [Held::Erased, Held::Key(_)]), "{held:?}");
}

#[tokio::test]
async fn what_was_sealed_for_one_does_not_open_for_another() {
    let mut home = Home::open().await;
    home.join(1).await;
    home.join(2).await;
    home.set(1, 1, ada()).await.unwrap();
    home.set(2, 2, Details::new("Eve", None, None).unwrap()).await.unwrap();
    let sealed = home.house.ordering.commands().look(TENANT, id(1), |diner: &Diner| match diner {
        Diner::Here { details, .. } => details.clone(),
        Diner::Erased => None,
    });
    let stolen = sealed.await.unwrap().unwrap();
    home.on_diner(50, 2, diner::Command::SetDetails { details: stolen.clone() }).await;
    assert_eq!(home.shown(2).await, Shown::Sealed, "never a wrong name");
    // Not even with the right key.
    let Held::Key(key) = home.held(1).await else { panic!("a key") };
    assert_eq!(stolen.open(person(2), &key), Err(WrongKey));
    let other = Person { tenant: TenantId(Uuid::from_u128(9)), ..person(1) };
    assert_eq!(stolen.open(other, &key), Err(WrongKey));
    assert_eq!(stolen.open(person(1), &key), Ok(ada()));
}

#[tokio::test]
async fn a_number_that_names_nobody_yet_names_the_same_diner_each_time() {
    let home = Home::open().await;
    let naming = |diner, number: &str| Naming { diner, employee_number: Some(number.into()), details: None };
    let name = async |namings: &[Naming]| home.people.name(TENANT, COMPANY, namings).await.unwrap();
    let first: Vec<Named> = name(&[naming(None, "1"), naming(Some(id(7)), "2"), naming(None, "1")])
        .await
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    let follows = first[0].diner;
    assert_eq!((first[1].diner, first[2].diner), (id(7), follows));
    assert_eq!(home.whom("1").await, None, "only named");
    home.people.number(TENANT, COMPANY, &first).await.unwrap();
    assert_eq!((home.whom("1").await, home.whom("2").await), (Some(follows), Some(id(7))));
    let again = name(&[naming(None, "2"), naming(Some(id(8)), "2"), Naming::default()]).await;
    assert_eq!(again[0].as_ref().unwrap().diner, id(7));
    assert_eq!(again[1].as_ref().unwrap_err(), &PersonalError::NumberTaken);
    assert_eq!(again[2].as_ref().unwrap_err(), &PersonalError::Diner(diner::Error::NotKnown));
    let elsewhere = CompanyId(Uuid::from_u128(501));
    let other = home.people.name(TENANT, elsewhere, &[naming(None, "1")]).await.unwrap().remove(0).unwrap();
    assert_ne!(other.diner, follows);
    let events = home.house.events().await;
    assert!(!events.iter().any(|it| matches!(it.fact, Fact::Diner(..)) || it.metadata.actor != STAFF));
}
