// urql's client, with graphql-ws beneath its subscriptions.

import { cacheExchange, Client, fetchExchange, gql, subscriptionExchange, type OperationResult } from "@urql/core";
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

function urql(who: Person): Client {
  const authorization = `Bearer ${who.token}`;
  const socket = house.socket(who);
  return new Client({
    url: house.api,
    fetch: carrying(),
    fetchOptions: { headers: { authorization } },
    exchanges: [
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query = "", variables }) => ({
          subscribe: sink => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
        }),
      }),
    ],
  });
}

const PLACE = gql<{ placeOrder: { __typename: string; id?: string; offers?: { left: number }[] } }>`
  mutation Place($key: UUID!, $input: PlaceOrderInput!) {
    placeOrder(idempotencyKey: $key, input: $input) {
      __typename
      ... on Order {
        id
      }
      ... on SoldOut {
        offers {
          left
        }
      }
    }
  }
`;

const MINE = gql<{
  myOrders: { nodes: { id: string; status: string }[]; pageInfo: { hasNextPage: boolean; endCursor: string } };
}>`
  query Mine($first: Int!, $after: String) {
    myOrders(first: $first, after: $after) {
      nodes {
        id
        status
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`;

const BALANCES = gql<{ myBalances: { available: { amount: string } }[] }>`
  {
    myBalances {
      available {
        amount
      }
    }
  }
`;

function data<Data>(result: OperationResult<Data>): Data {
  if (result.error) throw result.error;
  assert.ok(result.data);
  return result.data;
}

function asked(dish: string, quantity = 1) {
  return { key: randomUUID(), input: { serving: house.serving, lines: [{ dish: house.dish(dish), quantity }] } };
}

test("an order or a refusal, told apart by their types", async () => {
  const client = urql(await house.diner("1000.00"));
  assert.equal(data(await client.mutation(PLACE, asked("红烧牛肉面"))).placeOrder.__typename, "Order");
  const { placeOrder } = data(await client.mutation(PLACE, asked("海南鸡饭", 3)));
  assert.deepEqual([placeOrder.__typename, placeOrder.offers?.[0]?.left], ["SoldOut", 2]);
});

test("the same key sent again is the same order", async () => {
  const diner = await house.diner("1000.00");
  const client = urql(diner);
  const variables = asked("红烧牛肉面");
  const first = data(await client.mutation(PLACE, variables)).placeOrder.id;
  assert.equal(data(await client.mutation(PLACE, variables)).placeOrder.id, first);
  assert.equal(await house.orders(diner), 1);
});

test("its cache lets go of lists when something of theirs was changed", async () => {
  const client = urql(await house.diner("1000.00"));
  await client.mutation(PLACE, asked("凉拌黄瓜"));
  const read = async () => data(await client.query(MINE, { first: 10 }).toPromise()).myOrders.nodes.length;
  assert.equal(await read(), 1);
  await client.mutation(PLACE, asked("凉拌黄瓜"));
  assert.equal(await read(), 2);
});

test("a long list page by page", async () => {
  const diner = await house.diner("1000.00");
  const client = urql(diner);
  const orders: string[] = [];
  for (let count = 0; count < 5; count += 1) orders.unshift(await house.order(diner, "凉拌黄瓜"));
  const read: string[] = [];
  for (let after: string | undefined; ;) {
    const { nodes, pageInfo } = data(await client.query(MINE, { first: 2, after }).toPromise()).myOrders;
    read.push(...nodes.map(({ id }) => id));
    if (!pageInfo.hasNextPage) break;
    after = pageInfo.endCursor;
  }
  assert.deepEqual(read, orders);
});

test("a subscription over graphql-ws shows the kitchen's board as it moves", async () => {
  const diner = await house.diner("1000.00");
  const order = await house.order(diner, "红烧牛肉面");
  const board = gql<{ kitchenBoard: { tickets: { order: string; stage: string }[] } }>`
    subscription Board($serving: ID!) {
      kitchenBoard(serving: $serving) {
        cursor
        whole
        tickets {
          order
          stage
        }
        gone
      }
    }
  `;
  const stages: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const watching = urql(house.staff)
      .subscription(board, { serving: house.serving })
      .subscribe(result => {
        if (result.error) return reject(result.error);
        const stage = result.data?.kitchenBoard.tickets.find(ticket => ticket.order === order)?.stage;
        if (stage === undefined || stage === stages.at(-1)) return;
        stages.push(stage);
        if (stage === "CONFIRMED") house.move("prepare", order).catch(reject);
        if (stage === "PREPARING") house.move("markReady", order).catch(reject);
        if (stage === "READY") resolve(watching.unsubscribe());
      });
  });
  assert.deepEqual(stages, ["CONFIRMED", "PREPARING", "READY"]);
});

test("a coded error is one of GraphQL's, with its extensions", async () => {
  const client = urql(await house.diner("1.00"));
  const { error } = await client.query(MINE, { first: 101 }).toPromise();
  assert.deepEqual(error?.graphQLErrors[0]?.extensions, { code: "BAD_INPUT", retryable: false, field: "first" });
});

test("amounts of ten to the twelfth and more are read to the last fen", async () => {
  for (const amount of [...TRILLIONS, FORTUNE]) {
    const client = urql(await house.diner(amount));
    assert.equal(data(await client.query(BALANCES, {}).toPromise()).myBalances[0]?.available.amount, amount);
  }
});
