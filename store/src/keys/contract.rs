//! What every key store keeps to.

use std::sync::Arc;

use domain::{
    CompanyId, DinerId, TenantId,
    personal::{OutsideId, Person},
};
use uuid::Uuid;

use super::{Assigned, Held, KeyStore};

pub(super) fn person(number: u128) -> Person {
    Person { tenant: TenantId(Uuid::from_u128(1)), diner: DinerId(Uuid::from_u128(1_000 + number)) }
}

fn outside(number: u8) -> OutsideId {
    OutsideId([number; 32])
}

/// `open` gives the same store each time, as another process would see it.
pub(super) async fn keeps_it(open: impl AsyncFn() -> Arc<dyn KeyStore>) {
    makes_one_key_each(&open).await;
    finds_by_outside_ids(&open).await;
    erases_for_good(&open).await;
    agrees_with_itself(&open).await;
}

async fn makes_one_key_each(open: &impl AsyncFn() -> Arc<dyn KeyStore>) {
    let keys = open().await;
    let made = keys.make(&[person(1), person(2), person(1)]).await.unwrap();
    assert!(made[0].is_some() && made[0] == made[2] && made[0] != made[1]);
    let elsewhere = Person { tenant: TenantId(Uuid::from_u128(2)), ..person(1) };
    assert_ne!(keys.make(&[elsewhere]).await.unwrap()[0], made[0], "another tenant's");
    let again = open().await;
    assert_eq!(again.make(&[person(2), person(1)]).await.unwrap(), [made[1].clone(), made[0].clone()]);
    let held = made.iter().flatten().cloned().map(Held::Key).collect::<Vec<_>>();
    assert_eq!(again.find(&[person(1), person(2)]).await.unwrap(), held[..2]);
    assert_eq!(again.find(&[person(99)]).await.unwrap(), [Held::Nothing]);
    assert_eq!(again.find(&[]).await.unwrap(), []);
    let tenant = person(1).tenant;
    assert_eq!(keys.known_lookup_key(tenant).await.unwrap(), None);
    let lookup = keys.lookup_key(tenant).await.unwrap();
    assert_eq!(again.lookup_key(tenant).await.unwrap(), lookup);
    assert_eq!(again.known_lookup_key(tenant).await.unwrap(), Some(lookup.clone()));
    assert_ne!(again.lookup_key(elsewhere.tenant).await.unwrap(), lookup);
}

async fn finds_by_outside_ids(open: &impl AsyncFn() -> Arc<dyn KeyStore>) {
    let keys = open().await;
    let (tenant, of) = (person(1).tenant, |number| person(number).diner);
    let company = CompanyId(Uuid::from_u128(5));
    let assigned = keys
        .assign(tenant, company, &[(of(1), Some(outside(1))), (of(2), Some(outside(1))), (of(2), Some(outside(2)))])
        .await
        .unwrap();
    assert_eq!(assigned, [Assigned::Done, Assigned::Taken(of(1)), Assigned::Done]);
    let keys = open().await;
    let whom = async |ids: &[OutsideId]| keys.whom(tenant, ids).await.unwrap();
    assert_eq!(whom(&[outside(2), outside(9), outside(1)]).await, [Some(of(2)), None, Some(of(1))]);
    assert_eq!(keys.whom(TenantId(Uuid::from_u128(2)), &[outside(1)]).await.unwrap(), [None]);
    // A new one takes the place of the old, which is free then.
    let moved = [(of(1), Some(outside(3))), (of(2), Some(outside(1)))];
    assert_eq!(keys.assign(tenant, company, &moved).await.unwrap(), [Assigned::Done; 2]);
    assert_eq!(whom(&[outside(1), outside(2), outside(3)]).await, [Some(of(2)), None, Some(of(1))]);
    let other = CompanyId(Uuid::from_u128(6));
    assert_eq!(keys.assign(tenant, other, &[(of(1), Some(outside(4)))]).await.unwrap(), [Assigned::Done]);
    assert_eq!(keys.assign(tenant, company, &[(of(1), None)]).await.unwrap(), [Assigned::Done]);
    assert_eq!(whom(&[outside(3), outside(4)]).await, [None, Some(of(1))], "of that company alone");
}

async fn erases_for_good(open: &impl AsyncFn() -> Arc<dyn KeyStore>) {
    let keys = open().await;
    let (tenant, company) = (person(1).tenant, CompanyId(Uuid::from_u128(5)));
    keys.make(&[person(1), person(2)]).await.unwrap();
    // One whom it has never seen is buried all the same.
    assert_eq!(keys.erase(&[person(1), person(3)]).await.unwrap(), 1);
    assert_eq!(keys.erase(&[person(1)]).await.unwrap(), 0, "again");
    let keys = open().await;
    let held = keys.find(&[person(1), person(3), person(2)]).await.unwrap();
    assert_eq!(held[..2], [Held::Erased, Held::Erased]);
    assert!(matches!(held[2], Held::Key(_)), "nobody else");
    let made = keys.make(&[person(1), person(3), person(2)]).await.unwrap();
    assert_eq!((&made[0], &made[1], made[2].is_some()), (&None, &None, true));
    assert_eq!(keys.whom(tenant, &[outside(4), outside(1)]).await.unwrap(), [None, Some(person(2).diner)]);
    let buried = [(person(1).diner, Some(outside(7)))];
    assert_eq!(keys.assign(tenant, company, &buried).await.unwrap(), [Assigned::Erased]);
    assert_eq!(keys.whom(tenant, &[outside(7)]).await.unwrap(), [None]);
    let elsewhere = Person { tenant: TenantId(Uuid::from_u128(2)), ..person(1) };
    assert!(matches!(keys.find(&[elsewhere]).await.unwrap()[0], Held::Key(_)), "another tenant's");
}

/// Many at once get one key.
async fn agrees_with_itself(open: &impl AsyncFn() -> Arc<dyn KeyStore>) {
    let mut made = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let keys = open().await;
        made.spawn(async move { keys.make(&[person(50), person(51)]).await.unwrap() });
    }
    let made = made.join_all().await;
    assert!(made.iter().all(|keys| *keys == made[0]));
}
