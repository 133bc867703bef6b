//! Global ids (the Relay specification's node ids): opaque to clients, and worth nothing without a
//! token of the tenant that they belong to.

use async_graphql::ID;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{AccountId, CanteenId, DishId, OrderId, ServingId};
use uuid::Uuid;

/// What a global id names. Its text is the base64url of `Type:uuid…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeId {
    Canteen(CanteenId),
    /// A dish is known within its canteen.
    Dish(CanteenId, DishId),
    Serving(ServingId),
    Order(OrderId),
    Account(AccountId),
}

impl NodeId {
    pub fn encode(self) -> ID {
        let text = match self {
            NodeId::Canteen(id) => format!("Canteen:{id}"),
            NodeId::Dish(canteen, dish) => format!("Dish:{canteen}:{dish}"),
            NodeId::Serving(id) => format!("Serving:{id}"),
            NodeId::Order(id) => format!("Order:{id}"),
            NodeId::Account(id) => format!("Account:{id}"),
        };
        ID(URL_SAFE_NO_PAD.encode(text))
    }

    /// None for a text that is not a global id.
    pub fn decode(id: &str) -> Option<NodeId> {
        if id.len() > 200 {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
        let (kind, key) = text.split_once(':')?;
        match kind {
            "Canteen" => Some(NodeId::Canteen(uuid(key)?.into())),
            "Dish" => {
                let (canteen, dish) = key.split_once(':')?;
                Some(NodeId::Dish(uuid(canteen)?.into(), uuid(dish)?.into()))
            }
            "Serving" => Some(NodeId::Serving(uuid(key)?.into())),
            "Order" => Some(NodeId::Order(uuid(key)?.into())),
            "Account" => key.parse().ok().map(NodeId::Account),
            _ => None,
        }
    }
}

/// A UUID in its one usual form, so that a thing has one global id.
fn uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::parse_str(text).ok())?
}

macro_rules! typed {
    ($($(#[$doc:meta])* $name:ident, $variant:ident, $id:ty;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(id: &ID) -> Option<$id> {
            match NodeId::decode(id) {
                Some(NodeId::$variant(id)) => Some(id),
                _ => None,
            }
        }
    )*};
}

typed! {
    canteen, Canteen, CanteenId;
    serving, Serving, ServingId;
    order, Order, OrderId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_what_they_were() {
        let id = Uuid::from_u128(0x1234_5678);
        let all = [
            NodeId::Canteen(id.into()),
            NodeId::Dish(id.into(), Uuid::from_u128(9).into()),
            NodeId::Serving(id.into()),
            NodeId::Order(id.into()),
            NodeId::Account(AccountId::Wallet(id.into())),
            NodeId::Account(AccountId::Company(id.into())),
        ];
        for node in all {
            assert_eq!(NodeId::decode(&node.encode()), Some(node));
        }
        assert_eq!(order(&NodeId::Serving(id.into()).encode()), None, "an id of another type");
    }

    #[test]
    fn rubbish_is_no_id() {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let wrong = [
            String::new(),
            "Order:00000000-0000-0000-0000-000000000001".to_owned(),
            encoded("Order:7"),
            encoded("Order:00000000000000000000000000000001"),
            encoded("Dish:00000000-0000-0000-0000-000000000001"),
            encoded("King:00000000-0000-0000-0000-000000000001"),
            encoded(&"x".repeat(300)),
        ];
        for id in wrong {
            assert_eq!(NodeId::decode(&id), None, "{id}");
        }
    }
}
