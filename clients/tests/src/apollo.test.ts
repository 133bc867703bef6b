// Apollo Client, as a page would set it up.

import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache, type TypedDocumentNode } from "@apollo/client/core";
import { CombinedGraphQLErrors } from "@apollo/client/errors";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { getMainDefinition, relayStylePagination } from "@apollo/client/utilities";
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";

import { carrying } from "./support/carrying.js";
import { FORTUNE, House, TRILLIONS, type Person } from "./support/house.js";

let house: House;

before(async () => {
  house = await House.open();
});
after(() => house.stop());

function apollo(who: Person): ApolloClient {
  const authorization = `Bearer ${who.token}`;
  const link = ApolloLink.split(
    ({ query }) => {
      const main = getMainDefinition(query);
      return main.kind === "OperationDefinition" && main.operation === "subscription";
    },
    new GraphQLWsLink(house.socket(who)),
    new HttpLink({ uri: house.api, headers: { authorization }, fetch: carrying() }),
  );
  const cache = new InMemoryCache({
    possibleTypes: { Node: ["Order", "Serving", "Canteen", "Dish", "Account"] },
    typePolicies: { Query: { fields: { myOrders: relayStylePagination() } } },
  });
  return new ApolloClient({ link, cache });
}

interface PlacedOrder {
  readonly __typename: "Order";
  readonly id: string;
  readonly status: string;
}
type Outcome = PlacedOrder | { readonly __typename: "SoldOut"; readonly offers: readonly { readonly left: number }[] };

const PLACE: TypedDocumentNode<{ placeOrder: Outcome }, Record<string, unknown>> = gql`
  mutation Place($key: UUID!, $input: PlaceOrderInput!) {
    placeOrder(idempotencyKey: $key, input: $input) {
      ... on Order {
        id
        status
      }
      ... on SoldOut {
        offers {
          left
        }
      }
    }
  }
`;

const MINE: TypedDocumentNode<{
  myOrders: { edges: { node: { id: string } }[]; pageInfo: { hasNextPage: boolean; endCursor: string } };
}> = gql`
  query Mine($after: String) {
    myOrders(first: 2, after: $after) {
      edges {
        cursor
        node {
          id
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`;

async function placed(client: ApolloClient, dish: string, quantity = 1): Promise<Outcome> {
  const input = { serving: house.serving, lines: [{ dish: house.dish(dish), quantity }] };
  const { data } = await client.mutate({ mutation: PLACE, variables: { key: randomUUID(), input } });
  assert.ok(data);
  return data.placeOrder;
}

test("a day's lunch", async () => {
  const client = apollo(await house.diner("1.00"));
  const query: TypedDocumentNode<{ servings: { nodes: { offers: { name: string }[] }[] } }> = gql`
    query Lunch($date: Date!) {
      servings(date: $date) {
        nodes {
          id
          offers {
            dish
            name
          }
        }
      }
    }
  `;
  const { data } = await client.query({ query, variables: { date: house.date } });
  assert.deepEqual(data?.servings.nodes[0]?.offers.map(offer => offer.name).sort(), [...house.dishes.keys()].sort());
});

test("an order or a refusal, told apart by their types", async () => {
  const client = apollo(await house.diner("1000.00"));
  assert.equal((await placed(client, "红烧牛肉面")).__typename, "Order");
  const refused = await placed(client, "海南鸡饭", 3);
  assert.deepEqual(refused.__typename === "SoldOut" && refused.offers.map(({ left }) => left), [2]);
});

test("its cache knows an order by its global id, wherever it was read", async () => {
  const client = apollo(await house.diner("1000.00"));
  const order = await placed(client, "红烧牛肉面");
  assert.equal(order.__typename, "Order");
  const id = order.__typename === "Order" ? order.id : "";
  await house.move("prepare", id);
  const query = gql`
    query Again($id: ID!) {
      node(id: $id) {
        ... on Order {
          id
          status
        }
      }
    }
  `;
  await client.query({ query, variables: { id }, fetchPolicy: "network-only" });
  const fragment: TypedDocumentNode<PlacedOrder> = gql`
    fragment Status on Order {
      id
      status
    }
  `;
  assert.equal(client.cache.readFragment({ id: `Order:${id}`, fragment })?.status, "PREPARING");
});

test("pages as Relay has them are put together to one list", async () => {
  const diner = await house.diner("1000.00");
  const client = apollo(diner);
  const orders: string[] = [];
  for (let count = 0; count < 5; count += 1) orders.unshift(await house.order(diner, "凉拌黄瓜"));
  const mine = client.watchQuery({ query: MINE });
  const watching = mine.subscribe(() => undefined);
  let page = (await client.query({ query: MINE })).data?.myOrders;
  while (page?.pageInfo.hasNextPage === true) {
    page = (await mine.fetchMore({ variables: { after: page.pageInfo.endCursor } })).data?.myOrders;
  }
  const whole = client.cache.readQuery({ query: MINE })?.myOrders.edges.map(({ node }) => node.id);
  watching.unsubscribe();
  assert.deepEqual(whole, orders);
});

test("a subscription over GraphQLWsLink tells an order's steps", async () => {
  const diner = await house.diner("1000.00");
  const order = await house.order(diner, "红烧牛肉面");
  const query: TypedDocumentNode<{ orderProgress: { order: { status: string } } }> = gql`
    subscription Progress($order: ID!) {
      orderProgress(order: $order) {
        cursor
        order {
          id
          status
        }
      }
    }
  `;
  const steps: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const watching = apollo(diner)
      .subscribe({ query, variables: { order } })
      .subscribe({
        next({ data, error }) {
          if (error) return reject(error);
          const status = data?.orderProgress.order.status ?? "nothing";
          steps.push(status);
          if (status === "CONFIRMED") house.move("prepare", order).then(() => house.move("markReady", order), reject);
          if (status === "READY") resolve(watching.unsubscribe());
        },
        error: reject,
      });
  });
  assert.deepEqual(steps, ["CONFIRMED", "PREPARING", "READY"]);
});

test("a coded error is one of GraphQL's, with its extensions", async () => {
  const client = apollo(await house.diner("1.00"));
  const mutation = gql`
    mutation Cancel($key: UUID!) {
      cancelOrder(order: "bm9uc2Vuc2U", idempotencyKey: $key) {
        order {
          id
        }
      }
    }
  `;
  const error = await client.mutate({ mutation, variables: { key: randomUUID() } }).catch((error: unknown) => error);
  assert.ok(CombinedGraphQLErrors.is(error));
  assert.deepEqual(error.errors[0]?.extensions, { code: "NOT_FOUND", retryable: false, field: "order" });
});

test("amounts of ten to the twelfth and more are read to the last fen", async () => {
  const query: TypedDocumentNode<{ myBalances: { available: { amount: string } }[] }> = gql`
    {
      myBalances {
        id
        available {
          amount
          currency
        }
      }
    }
  `;
  for (const amount of [...TRILLIONS, FORTUNE]) {
    const client = apollo(await house.diner(amount));
    await client.query({ query });
    const kept = client.cache.readQuery({ query });
    assert.equal(kept?.myBalances[0]?.available.amount, amount, "as it lies in the cache");
  }
});
