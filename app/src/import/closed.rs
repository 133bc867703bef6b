//! Orders that are dated into a closed period are refused, and change nothing.

use domain::{CanteenId, TenantId, books, order::Order};

use super::{
    booking::{leave_out_rows, order_id},
    canteen::Canteen,
    mapping::Mapping,
    orders::{History, PastOrder},
    report::ImportReport,
    tally::{Reason, Tally},
};
use crate::wiring::House;

/// Takes the orders out that a closed period would have to take, and reports them. Those that were booked
/// before its close stay: importing them again is no change.
///
/// A close that comes while the import runs is not seen here; what is booked after it comes late, and the
/// books put it into the open period.
pub async fn leave_out(
    house: &House,
    tenant: TenantId,
    mapping: &Mapping,
    history: &mut History,
    tally: &mut Tally,
    report: &mut ImportReport,
) -> anyhow::Result<()> {
    let books = house.commands.books(tenant).await?;
    if books.book().map_or(true, |book| book.closed_through().is_none()) {
        return Ok(());
    }
    let mut canteen = None;
    for order in std::mem::take(&mut history.orders) {
        match books.takes(order.at) {
            Ok(()) => history.orders.push(order),
            Err(why @ books::Error::Closed { .. }) => {
                let canteen = match canteen {
                    Some(found) => found,
                    None => {
                        *canteen.insert(Canteen::find(house, tenant, &mapping.canteen).await?.map(|canteen| canteen.id))
                    }
                };
                if is_booked(house, tenant, canteen, &order).await? {
                    history.orders.push(order);
                } else {
                    leave_out_rows(&order, Reason::ClosedPeriod, &why.to_string(), tally);
                    report.refused_order(order.name(), order.line, &why);
                }
            }
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}

/// Whether an earlier import has come to the end of the order.
async fn is_booked(
    house: &House,
    tenant: TenantId,
    canteen: Option<CanteenId>,
    order: &PastOrder,
) -> anyhow::Result<bool> {
    let Some(canteen) = canteen else { return Ok(false) };
    let ended = |order: &Order| match order {
        Order::PickedUp(_) | Order::NoShow(_) | Order::Cancelled(_) | Order::Expired(_) | Order::Refused(..) => true,
        Order::New | Order::Placed(_) | Order::Confirmed(_) | Order::Preparing(_) | Order::Ready(..) => false,
    };
    Ok(house.commands.look(tenant, order_id(tenant, canteen, order), ended).await?)
}
