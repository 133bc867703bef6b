// What a page with Relay would ask. The compiler reads the tagged texts.

graphql`
  fragment Order_order on Order
  @refetchable(queryName: "OrderRefetchQuery")
  @argumentDefinitions(withLines: { type: "Boolean", defaultValue: false }) {
    id
    status
    placedAt
    total {
      amount
      currency
    }
    lines @include(if: $withLines) {
      name
      quantity
    }
  }
`;

graphql`
  fragment Orders_query on Query
  @refetchable(queryName: "OrdersPageQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 20 }, cursor: { type: "String" }) {
    myOrders(first: $count, after: $cursor) @connection(key: "Orders_myOrders") {
      edges {
        node {
          id
          ...Order_order
        }
      }
    }
  }
`;

graphql`
  query LunchQuery($date: Date!) {
    ...Orders_query @arguments(count: 5)
    servings(date: $date, first: 20) {
      edges {
        node {
          id
          canteen {
            name
          }
          offers {
            dish
            name
            left
          }
        }
      }
    }
  }
`;

graphql`
  mutation LunchPlaceMutation($key: UUID!, $input: PlaceOrderInput!) {
    placeOrder(idempotencyKey: $key, input: $input) {
      __typename
      ... on Order {
        ...Order_order @arguments(withLines: true) @alias(as: "order")
        total {
          amount
        }
      }
      ... on SoldOut {
        offers {
          dish
          left
        }
      }
      ... on InsufficientFunds {
        short {
          amount
          currency
        }
      }
    }
  }
`;

graphql`
  mutation LunchCancelMutation($key: UUID!, $order: ID!, $connections: [ID!]!) {
    cancelOrder(idempotencyKey: $key, order: $order) {
      order @appendNode(connections: $connections, edgeTypeName: "OrderEdge") {
        ...Order_order
      }
    }
  }
`;

graphql`
  subscription LunchBoardSubscription($serving: ID!, $after: String) {
    kitchenBoard(serving: $serving, after: $after) {
      cursor
      whole
      gone
      tickets {
        order
        stage
      }
    }
  }
`;
