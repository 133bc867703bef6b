//! The canteen that an import is for: found by its name, or opened.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use commands::{Commands, Request};
use domain::{
    CanteenId, Currency, DishId, TenantId, derived_id,
    menu::{Dish, MAX_DISHES, Menu},
};
use projections::{PageSize, menu};

use super::{CATCH_UP, IMPORTER};
use crate::{config::usage, wiring::House};

/// A canteen and what is on its menu.
pub struct Canteen {
    pub id: CanteenId,
    pub currency: Currency,
    pub zone: String,
    pub dishes: BTreeMap<DishId, Dish>,
}

impl Canteen {
    /// The canteen called `name`, if there is one.
    pub async fn find(house: &House, tenant: TenantId, name: &str) -> anyhow::Result<Option<Canteen>> {
        house.catch_up(CATCH_UP).await.context("the canteens cannot be looked up yet")?;
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = menu::canteens(&house.views, tenant, after, PageSize::MAX).await?;
            after = page.last().map(|canteen| canteen.canteen);
            let whole = page.len() == PageSize::MAX.get();
            found.extend(page.into_iter().filter(|canteen| canteen.name == name).map(|canteen| canteen.canteen));
            if !whole {
                break;
            }
        }
        match found.as_slice() {
            [] => Ok(None),
            [id] => Self::load(&house.commands, tenant, *id).await.map(Some),
            several => {
                bail!("{} canteens are called {name:?}; an import needs a name that only one has", several.len())
            }
        }
    }

    /// The canteen called `name`, on terms that must be its own if it is open already.
    pub async fn find_or_open(
        house: &House,
        tenant: TenantId,
        name: &str,
        currency: Currency,
        zone: &str,
    ) -> anyhow::Result<Canteen> {
        if let Some(canteen) = Self::find(house, tenant, name).await? {
            if canteen.currency != currency {
                return Err(usage(format!("the canteen {name:?} sells in {}, not in {currency}", canteen.currency)));
            }
            if canteen.zone != zone {
                return Err(usage(format!("the canteen {name:?} keeps the time of {}, not of {zone}", canteen.zone)));
            }
            return Ok(canteen);
        }
        let key = derived_id(tenant.0, &[b"import", b"canteen", name.as_bytes()]);
        let terms = (name, zone, currency);
        let request = Request::new((tenant, IMPORTER), "openCanteen", key, &terms, house.commands.now());
        let id = CanteenId(request.id);
        let opened = house.commands.open_canteen(request, name.to_owned(), zone.to_owned(), currency).await;
        opened.with_context(|| format!("the canteen {name:?} could not be opened"))?;
        Self::load(&house.commands, tenant, id).await
    }

    async fn load(commands: &Commands, tenant: TenantId, id: CanteenId) -> anyhow::Result<Canteen> {
        let menu = commands.look(tenant, id, Menu::clone).await?;
        match menu {
            Menu::Open { zone, currency, dishes, .. } => Ok(Canteen { id, currency, zone, dishes }),
            Menu::New => bail!("the canteen {id} is in the views but not in the log; `tiffin verify` says more"),
        }
    }

    /// The dish called `name`: what an import put under that name, or the only one that bears it.
    pub fn dish(&self, name: &str) -> anyhow::Result<Option<(DishId, &Dish)>> {
        let id = self.dish_id(name);
        if let Some(dish) = self.dishes.get(&id) {
            return Ok(Some((id, dish)));
        }
        let mut same = self.dishes.iter().filter(|(_, dish)| dish.name == name);
        match (same.next(), same.next()) {
            (None, _) => Ok(None),
            (Some((id, dish)), None) => Ok(Some((*id, dish))),
            _ => bail!("several dishes are called {name:?}; an import needs names that only one dish has"),
        }
    }

    /// The id under which an import puts a dish of this name.
    pub fn dish_id(&self, name: &str) -> DishId {
        DishId(derived_id(self.id.0, &[b"import", b"dish", name.as_bytes()]))
    }

    /// Puts dishes on the menu, and takes them down here.
    pub async fn put(&mut self, house: &House, tenant: TenantId, dishes: Vec<(DishId, Dish)>) -> anyhow::Result<()> {
        let new = dishes.iter().filter(|(id, _)| !self.dishes.contains_key(id)).count();
        if self.dishes.len() + new > MAX_DISHES {
            let known = self.dishes.len();
            return Err(usage(format!(
                "a menu has at most {MAX_DISHES} dishes; this one has {known}, and the file brings {new} more"
            )));
        }
        for (id, dish) in dishes {
            // A dish may come back to a price that it had before, so no two puts are the same request.
            let (commands, key) = (&house.commands, house.commands.new_id());
            let request = Request::new((tenant, IMPORTER), "putDish", key, &(id, &dish), commands.now());
            let put = commands.put_dish(request, self.id, id, dish.clone()).await;
            put.with_context(|| format!("the dish {:?} could not be put on the menu", dish.name))?;
            self.dishes.insert(id, dish);
        }
        Ok(())
    }
}
