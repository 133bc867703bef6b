//! Diners as people: what is known of each, sealed, and who was erased.

use domain::{
    CompanyId, DinerId, Fact, TenantId,
    details::Details,
    diner,
    personal::{Person, Personal},
};
use store::{
    Position, Recorded,
    keys::{Held, KeyError, Keyring},
};

use crate::{Json, PageSize, Poison, Projection, Row, Rows, TableSpec, ViewError, Views, args, row};

row! {
    /// A diner whom a company employs or employed. Details are sealed with a key that is not here.
    pub struct Diner in "diners" {
        key { tenant: TenantId, diner: DinerId }
        /// The company that employs them, or did so last; none for an erased diner.
        company: Option<CompanyId>,
        /// Whether that employment runs, or no end of it is recorded.
        employed: bool,
        /// None: none were set, or they are erased.
        details: Option<Json<Personal<Details>>>,
        /// The event that erased the diner.
        erased: Option<Position>,
    }
    index "erased" on "(erased)";
    index "company" on "(tenant, company, diner)";
}

/// The projection.
pub struct Diners;

impl Projection for Diners {
    fn name(&self) -> &'static str {
        "diners"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Diner::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        use diner::Event;
        let (diner, event) = match &it.fact {
            Fact::Diner(diner, event) => (*diner, event),
            Fact::Menu(..)
            | Fact::Serving(..)
            | Fact::Order(..)
            | Fact::Payment(..)
            | Fact::Account(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Books(..)
            | Fact::Correction(..)
            | Fact::TopUp(..)
            | Fact::Payout(..)
            | Fact::Invoice(..) => return Ok(()),
        };
        let tenant = it.tenant;
        let unknown = || Diner { tenant, diner, company: None, employed: false, details: None, erased: None };
        let row = rows.get_or_insert_with(&(tenant, diner), unknown);
        match event {
            Event::Joined { company, .. } | Event::Moved { company, .. } => {
                (row.company, row.employed) = (Some(*company), true);
            }
            Event::Left { .. } => row.employed = false,
            Event::DetailsSet { details } => row.details = Some(Json(details.clone())),
            Event::Erased => *row = Diner { erased: Some(it.position), ..unknown() },
        }
        Ok(())
    }
}

/// A diner, if any company ever employed them.
pub async fn of_id(views: &Views, tenant: TenantId, diner: DinerId) -> Result<Option<Diner>, ViewError> {
    views.read(move |snapshot| snapshot.fetch_one("WHERE tenant = ?1 AND diner = ?2", args![tenant, diner])).await
}

/// Those of some diners whom any company ever employed.
pub async fn of_ids(views: &Views, tenant: TenantId, diners: Vec<DinerId>) -> Result<Vec<Diner>, ViewError> {
    views.read(move |snapshot| snapshot.fetch_among(tenant, ("diner", &diners), "ORDER BY diner")).await
}

/// Diners of a tenant, or of one of its companies, by their ids, from after `after`. Erased ones have
/// no company any more.
pub async fn list(
    views: &Views,
    tenant: TenantId,
    company: Option<CompanyId>,
    after: Option<DinerId>,
    page: PageSize,
) -> Result<Vec<Diner>, ViewError> {
    let after = after.unwrap_or(DinerId(uuid::Uuid::nil()));
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND (?2 IS NULL OR company = ?2) AND diner > ?3 ORDER BY diner LIMIT ?4",
                args![tenant, company, after, page],
            )
        })
        .await
}

/// Those who were erased by events after `after`, in that order.
pub async fn erased(views: &Views, after: Position, page: PageSize) -> Result<Vec<Diner>, ViewError> {
    views.read(move |snapshot| snapshot.fetch("WHERE erased > ?1 ORDER BY erased LIMIT ?2", args![after, page])).await
}

/// What can be shown of a diner as a person.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// No details were set.
    Nothing,
    Known(Details),
    /// For good.
    Erased,
    /// There is no key here that opens it.
    Sealed,
}

/// Opens the details of these diners, in their order, for whoever may read them.
///
/// # Errors
/// When keys are needed and cannot be had; [`KeyError::Missing`] without a key store.
pub async fn open(keys: Option<&Keyring>, rows: &[Diner]) -> Result<Vec<Shown>, KeyError> {
    let person = |row: &Diner| Person { tenant: row.tenant, diner: row.diner };
    let sealed: Vec<Person> = rows.iter().filter(|row| row.details.is_some()).map(person).collect();
    let held = match keys {
        _ if sealed.is_empty() => vec![],
        Some(keys) => keys.find(&sealed).await?,
        None => return Err(Keyring::none()),
    };
    let mut held = held.into_iter();
    let shown = rows.iter().map(|row| match (&row.details, row.erased) {
        (_, Some(_)) => Shown::Erased,
        (None, None) => Shown::Nothing,
        (Some(details), None) => match held.next() {
            Some(Held::Key(key)) => details.open(person(row), &key).map_or(Shown::Sealed, Shown::Known),
            Some(Held::Erased) => Shown::Erased,
            Some(Held::Nothing) | None => Shown::Sealed,
        },
    });
    Ok(shown.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::personal::{Person, PersonKey};
    use jiff::civil::date;
    use store::EventStore;
    use testing::Postgres;

    use super::*;
    use crate::{Runner, testing::*};

    fn company(number: u128) -> CompanyId {
        CompanyId(id(500 + number))
    }

    fn sealed(number: usize) -> Personal<Details> {
        let person = Person { tenant: tenant(), diner: diner(number) };
        Personal::seal(&Details::new("Ada Lovelace", None, None).unwrap(), person, &PersonKey::new(&[7; 32])).unwrap()
    }

    fn happened() -> Vec<Fact> {
        use diner::Event;
        let on = |number, event| Fact::Diner(diner(number), event);
        let joined =
            |number, of| on(number, Event::Joined { company: company(of), group: None, from: date(2026, 11, 23) });
        vec![
            joined(1, 1),
            joined(2, 1),
            on(1, Event::DetailsSet { details: sealed(1) }),
            on(2, Event::DetailsSet { details: sealed(2) }),
            on(2, Event::Moved { company: company(2), group: None, from: date(2026, 11, 24) }),
            joined(3, 2),
            on(1, Event::Left { on: date(2026, 11, 25) }),
            on(3, Event::Left { on: date(2026, 11, 25) }),
            on(1, Event::Erased),
        ]
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn details_are_kept_sealed_and_go_with_an_erasure_on_both_databases() {
        let mut world = World::new();
        world.happen(&happened()).await;
        let registry: crate::Registry = Arc::new([Arc::new(Diners) as Arc<dyn Projection>]);
        let identity = world.store.identity();
        let file = Views::in_memory(identity, Arc::clone(&registry)).unwrap();
        let there =
            Views::open_postgres(&Postgres::shared().database(), identity, Arc::clone(&registry)).await.unwrap();
        for views in [file, there] {
            Runner::open(world.store.clone(), views.clone()).await.unwrap().catch_up().await.unwrap();
            let one = async |number| of_id(&views, tenant(), diner(number)).await.unwrap();
            let row = |number: usize, of: Option<u128>, employed, known: bool, erased| Diner {
                tenant: tenant(),
                diner: diner(number),
                company: of.map(company),
                employed,
                details: known.then(|| Json(sealed(number))),
                erased,
            };
            let gone = row(1, None, false, false, Some(9));
            assert_eq!(one(1).await, Some(gone.clone()));
            assert_eq!(one(2).await, Some(row(2, Some(2), true, true, None)));
            assert_eq!((one(3).await, one(4).await), (Some(row(3, Some(2), false, false, None)), None));
            let some = of_ids(&views, tenant(), [4, 2, 1, 2].map(diner).to_vec()).await.unwrap();
            assert_eq!(some, [gone.clone(), row(2, Some(2), true, true, None)]);
            assert_eq!(of_ids(&views, TenantId(id(99)), vec![diner(1)]).await.unwrap(), [], "another tenant's");
            let page = PageSize::clamped(10);
            let ids = async |company, after| {
                let rows = list(&views, tenant(), company, after, page).await.unwrap();
                rows.into_iter().map(|row| row.diner).collect::<Vec<_>>()
            };
            assert_eq!(ids(None, None).await, [1, 2, 3].map(diner));
            assert_eq!(ids(Some(company(2)), Some(diner(2))).await, [diner(3)]);
            assert_eq!(erased(&views, 0, page).await.unwrap(), [gone]);
            assert_eq!(erased(&views, 9, page).await.unwrap(), []);
            let found = crate::verify(world.store.clone(), &views, |_| {}).await.unwrap();
            assert_eq!(found.differences, []);
        }
    }
}
