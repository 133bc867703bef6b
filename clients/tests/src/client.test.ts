// The client of this repository, over a network that fails.

import assert from "node:assert/strict";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { after, before, test } from "node:test";
import {
  CancelOrderDocument,
  KitchenBoardDocument,
  LunchDocument,
  MyBalancesDocument,
  MyOrdersDocument,
  newKey,
  OrderProgressDocument,
  PlaceOrderDocument,
  PortionsLeftDocument,
  TiffinClient,
  TiffinError,
} from "tiffin-client";
import WebSocket, { WebSocketServer } from "ws";

import { connect, ended } from "../../typescript/src/socket.js";
import { Flaky } from "./support/flaky.js";
import { Scripted } from "./support/scripted.js";
import { FORTUNE, House, TRILLIONS, type Person } from "./support/house.js";

let house: House;
let flaky: Flaky;
const clients: TiffinClient[] = [];

before(async () => {
  house = await House.open();
  flaky = await Flaky.before(house.api);
});
after(async () => {
  await Promise.all(clients.map(client => client.close()));
  await flaky.stop();
  await house.stop();
});

function clientOf(who: Person, url = flaky.url): TiffinClient {
  const client = new TiffinClient({ url, token: () => who.token, webSocket: WebSocket, retry: { firstDelay: 20 } });
  clients.push(client);
  return client;
}

function asked(dish: string, quantity = 1) {
  return { input: { serving: house.serving, lines: [{ dish: house.dish(dish), quantity }] } };
}

test("an order whose answers are lost is placed once, under one key", async () => {
  const diner = await house.diner("100.00");
  const client = clientOf(diner);
  flaky.heard.length = 0;
  flaky.loseAnswersTo("placeOrder", 3);
  const { placeOrder } = await client.mutate(PlaceOrderDocument, asked("红烧牛肉面"));
  assert.equal(placeOrder.__typename, "Order");
  const keys = flaky.heard.filter(text => text.includes("placeOrder")).map(text => /"key":"([^"]+)"/.exec(text)?.[1]);
  assert.equal(keys.length, 4, "three answers were lost, and the fourth came");
  assert.equal(new Set(keys).size, 1, `one key: ${keys.join()}`);
  assert.equal(await house.orders(diner), 1);
});

test("attempts are bounded, and what is left is an error that may be asked again under the same key", async () => {
  const diner = await house.diner("100.00");
  const client = clientOf(diner);
  const key = newKey();
  flaky.loseAnswersTo("placeOrder", 6);
  const given = await client.mutate(PlaceOrderDocument, asked("凉拌黄瓜"), { key }).then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(given instanceof TiffinError && given.code === "NO_ANSWER" && given.retryable, String(given));
  const { placeOrder } = await client.mutate(PlaceOrderDocument, asked("凉拌黄瓜"), { key });
  assert.equal(placeOrder.__typename, "Order");
  assert.equal(await house.orders(diner), 1);
});

test("what was written is in what is read next", async () => {
  const diner = await house.diner("100.00");
  const name = "x-consistency-token";
  let [brought, given]: (string | null)[] = [null, null];
  const heard: typeof fetch = async (url, init) => {
    brought = new Headers(init?.headers).get(name);
    const answer = await fetch(url, init);
    given = answer.headers.get(name) ?? given;
    return answer;
  };
  const client = new TiffinClient({ url: house.api, token: () => diner.token, fetch: heard });
  for (let count = 1; count <= 5; count += 1) {
    const { placeOrder } = await client.mutate(PlaceOrderDocument, asked("凉拌黄瓜"));
    const { myOrders } = await client.query(MyOrdersDocument, { first: 100 });
    const all: string[] = (brought ?? "").split(", ");
    assert.equal(all.at(-1), given ?? "a token", "a reader waits for what was written last");
    assert.equal(all.length, count, "and for what was written before, as answers may come in any order");
    assert.equal(myOrders.nodes.length, count);
    assert.equal(myOrders.nodes[0]?.id, placeOrder.__typename === "Order" && placeOrder.id);
  }
});

test("refusals are answers, and errors have a code, a field and whether to ask again", async () => {
  const poor = clientOf(await house.diner("1.00"), house.api);
  const { placeOrder } = await poor.mutate(PlaceOrderDocument, asked("红烧牛肉面"));
  assert.deepEqual(placeOrder.__typename === "InsufficientFunds" && placeOrder.short, {
    amount: "17.00",
    currency: "CNY",
  });
  const error = await poor.mutate(CancelOrderDocument, { order: "bm9uc2Vuc2U" }).catch((error: unknown) => error);
  assert.ok(error instanceof TiffinError);
  assert.deepEqual([error.code, error.field, error.retryable], ["NOT_FOUND", "order", false]);
});

test("THROTTLED is waited out for as long as the service says", async () => {
  const waits: number[] = [];
  let sent = 0;
  const began = Date.now();
  const throttled: typeof fetch = (url, init) => {
    waits.push(Date.now() - began);
    sent += 1;
    if (sent > 1) return fetch(url, init);
    const error = { message: "slow down", extensions: { code: "THROTTLED", retryable: true, retryAfter: 1 } };
    return Promise.resolve(new Response(JSON.stringify({ data: null, errors: [error] }), { status: 429 }));
  };
  const diner = await house.diner("1.00");
  const client = new TiffinClient({
    url: house.api,
    token: () => diner.token,
    fetch: throttled,
    retry: { firstDelay: 1 },
  });
  await client.query(MyBalancesDocument, {});
  assert.equal(sent, 2);
  assert.ok((waits[1] ?? 0) - (waits[0] ?? 0) >= 990, `asked again after ${waits.join(" and ")} ms`);
});

test("a subscription goes on over broken sockets: no step is missing and none comes twice", async () => {
  const diner = await house.diner("100.00");
  const client = clientOf(diner);
  const order = await house.order(diner, "红烧牛肉面");
  const steps: string[] = [];
  const seen = new Set<string>();
  for await (const step of client.subscribe(OrderProgressDocument, { order })) {
    assert.ok(!seen.has(step.cursor), "a step came twice");
    seen.add(step.cursor);
    steps.push(step.order.status);
    flaky.cut();
    // These happen while nobody listens.
    if (step.order.status === "CONFIRMED") {
      await house.move("prepare", order);
      await house.move("markReady", order);
    }
    if (step.order.status === "READY") break;
  }
  assert.deepEqual(steps, ["CONFIRMED", "PREPARING", "READY"]);
});

test("a board that is watched over broken sockets ends as the board is", async () => {
  const diner = await house.diner("1000.00");
  const client = clientOf(house.staff);
  const tickets = new Map<string, string>();
  const orders: string[] = [];
  for await (const change of client.subscribe(KitchenBoardDocument, { serving: house.serving })) {
    if (change.whole) tickets.clear();
    for (const ticket of change.tickets) tickets.set(ticket.order, ticket.stage);
    for (const gone of change.gone) tickets.delete(gone);
    if (orders.length === 4 && orders.every(order => tickets.has(order))) break;
    if (orders.length < 4) orders.push(await house.order(diner, "凉拌黄瓜"));
    flaky.cut();
  }
  assert.equal(new Set(orders).size, 4);
});

const portions = (cursor: string) => ({ data: { portionsLeft: { cursor, withdrawn: false, offers: [] } } });

test("a wrong cursor is an error that names it and is not asked again", async () => {
  const client = clientOf(await house.diner("1.00"));
  const watched = client.subscribe(PortionsLeftDocument, { serving: house.serving, after: "bm9uc2Vuc2U" });
  const error = await watched.next().catch((error: unknown) => error);
  assert.ok(error instanceof TiffinError && !error.retryable, String(error));
  assert.deepEqual([error.code, error.field], ["BAD_INPUT", "after"]);
});

test("a subscription waits and goes on when the service is overloaded, and ends when its cursor has expired", async () => {
  const failed = (code: string, retryable: boolean) => [
    { message: code, extensions: { code, retryable, field: "after" } },
  ];
  const script = [
    ["next", portions("one")],
    ["error", failed("OVERLOADED", true)],
    ["next", portions("two")],
    ["error", failed("CURSOR_EXPIRED", false)],
  ] as const;
  const service = await Scripted.start(script);
  const client = clientOf(house.finance, service.url);
  const cursors: string[] = [];
  const error = await (async () => {
    for await (const { cursor } of client.subscribe(PortionsLeftDocument, { serving: "any" })) cursors.push(cursor);
  })().catch((error: unknown) => error);
  await service.stop();
  assert.ok(error instanceof TiffinError && error.code === "CURSOR_EXPIRED" && error.field === "after", String(error));
  assert.deepEqual(cursors, ["one", "two"]);
  assert.deepEqual(service.afters, [undefined, "one"]);
});

test("a token that has expired on an open socket is replaced, and the subscription goes on", async () => {
  const service = await Scripted.start([
    ["next", portions("one")],
    ["close", 4403],
    ["next", portions("two")],
  ]);
  let tokens = 0;
  const client = new TiffinClient({
    url: service.url,
    token: () => `token-${(tokens += 1)}`,
    webSocket: WebSocket,
    retry: { firstDelay: 1 },
  });
  const watched = client.subscribe(PortionsLeftDocument, { serving: "any" });
  const cursors = [(await watched.next()).value?.cursor, (await watched.next()).value?.cursor];
  await client.close();
  await service.stop();
  assert.deepEqual(cursors, ["one", "two"]);
  assert.deepEqual(service.bearers, ["Bearer token-1", "Bearer token-2"]);
  assert.deepEqual(service.afters, [undefined, "one"]);
});

test("a token that has expired and is given again ends the subscription", async () => {
  const service = await Scripted.start([["next", portions("one")], ...Array(9).fill(["close", 4403] as const)]);
  const client = clientOf(house.finance, service.url);
  const watched = client.subscribe(PortionsLeftDocument, { serving: "any" });
  await watched.next();
  const error = await watched.next().catch((error: unknown) => error);
  await service.stop();
  assert.ok(error instanceof TiffinError && error.code === "UNAUTHENTICATED" && !error.retryable, String(error));
  assert.equal(service.bearers.length, 1);
});

test("a token that cannot be had is an error as any other, and may be had a moment later", async t => {
  const service = await Scripted.start([["next", portions("one")]]);
  t.after(() => service.stop());
  const diner = await house.diner("1.00");
  let fails = 0;
  const token = () => ((fails += 1) % 2 === 1 ? Promise.reject(new Error("no token")) : Promise.resolve(diner.token));
  const options = { token, webSocket: WebSocket };
  const retry = { firstDelay: 1 };
  const client = new TiffinClient({ url: house.api, ...options, retry });
  await client.query(MyBalancesDocument, {});
  const watching = new TiffinClient({ url: service.url, ...options, retry });
  const { value } = await watching.subscribe(PortionsLeftDocument, { serving: "any" }).next();
  assert.equal(value?.cursor, "one");
  await watching.close();
  const once = new TiffinClient({ url: house.api, ...options, retry: { attempts: 1 } });
  const error = await once.query(MyBalancesDocument, {}).catch((error: unknown) => error);
  assert.ok(error instanceof TiffinError && error.code === "NO_ANSWER" && error.cause instanceof Error, String(error));
});

test("a client that is closed between two sockets opens no other", async () => {
  const service = await Scripted.start([
    ["next", portions("one")],
    ["close", 1012],
    ["next", portions("two")],
  ]);
  const retry = { firstDelay: 60_000, longestDelay: 60_000 };
  const client = new TiffinClient({ url: service.url, token: () => "token", webSocket: WebSocket, retry });
  const watched = client.subscribe(PortionsLeftDocument, { serving: "any" });
  await watched.next();
  const next = watched.next();
  await new Promise(resolve => setTimeout(resolve, 200));
  await client.close();
  assert.equal((await next).done, true);
  await service.stop();
  assert.equal(service.bearers.length, 1);
});

/** A network that takes connections and says nothing. */
async function silent(): Promise<{ url: string; connections: () => number; stop: () => Promise<void> }> {
  const sockets: Socket[] = [];
  const server = createServer(socket => void sockets.push(socket.on("error", () => socket.destroy())));
  await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const stop = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>(resolve => server.close(() => resolve()));
  };
  return { url: `http://127.0.0.1:${port}/graphql`, connections: () => sockets.length, stop };
}

test("a client whose socket never opens is closed all the same", async t => {
  const network = await silent();
  t.after(() => network.stop());
  const client = clientOf(house.finance, network.url);
  const next = client.subscribe(PortionsLeftDocument, { serving: "any" }).next();
  await new Promise(resolve => setTimeout(resolve, 200));
  const began = Date.now();
  await client.close();
  assert.equal((await next).done, true);
  assert.ok(Date.now() - began < 5_000, `closed after ${Date.now() - began} ms`);
});

test("a socket that does not open, or is not acknowledged, is given up in time", async t => {
  const network = await silent();
  t.after(() => network.stop());
  const mute = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await new Promise(resolve => mute.once("listening", resolve));
  t.after(() => {
    mute.clients.forEach(client => client.terminate());
    mute.close();
  });
  const urls = [network.url, `http://127.0.0.1:${(mute.address() as AddressInfo).port}/graphql`];
  for (const url of urls) {
    const bearer = { token: () => Promise.resolve("token"), refused: undefined };
    const socket = connect(url.replace(/^http/, "ws"), bearer, WebSocket, 200);
    const gone = socket.iterate({ query: "subscription { any }" }).next();
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error("late")), 10_000).unref());
    const cause: unknown = await Promise.race([gone, late]).catch((cause: unknown) => cause);
    const error = ended(cause);
    assert.notEqual((cause as Error).message, "late");
    assert.ok(error.retryable, `${url}: ${error.code} ${error.message}`);
  }
});

test("a subscription goes on after its cursor when somebody in between closes the socket as if all were well", async () => {
  const service = await Scripted.start([
    ["next", portions("one")],
    ["close", 1000],
    ["next", portions("two")],
  ]);
  const client = clientOf(house.finance, service.url);
  const watched = client.subscribe(PortionsLeftDocument, { serving: "any" });
  const cursors = [(await watched.next()).value?.cursor, (await watched.next()).value?.cursor];
  await client.close();
  await service.stop();
  assert.deepEqual(cursors, ["one", "two"]);
  assert.deepEqual(service.afters, [undefined, "one"]);
});

test("a subscription that is told nothing for long may break as often as it likes", async () => {
  const breaks = 8;
  const lines = [...Array.from({ length: breaks }, () => ["close", 1012] as const), ["next", portions("one")] as const];
  const service = await Scripted.start(lines, 30);
  const client = new TiffinClient({
    url: service.url,
    token: () => house.finance.token,
    webSocket: WebSocket,
    retry: { firstDelay: 1, longestDelay: 5 },
  });
  const watched = client.subscribe(PortionsLeftDocument, { serving: "any" });
  const first = (await watched.next()).value?.cursor;
  await client.close();
  await service.stop();
  assert.deepEqual([first, service.bearers.length], ["one", breaks + 1]);
});

test("a socket that was closed for good is not opened again", async () => {
  for (const code of [4400, 4401, 4429, 1009]) {
    const service = await Scripted.start([["close", code]]);
    const client = clientOf(house.finance, service.url);
    const watched = client.subscribe(PortionsLeftDocument, { serving: "any" });
    const error = await watched.next().catch((error: unknown) => error);
    await service.stop();
    assert.ok(error instanceof TiffinError && error.code === "SOCKET_CLOSED" && !error.retryable, String(error));
    assert.equal(service.bearers.length, 1, `${code} ends it`);
  }
});

test("a signal ends what waits", async () => {
  const client = clientOf(await house.diner("1.00"));
  const ending = new AbortController();
  const watched = client.subscribe(PortionsLeftDocument, { serving: house.serving }, { signal: ending.signal });
  await watched.next();
  setTimeout(() => ending.abort(new Error("enough")), 50);
  await assert.rejects(watched.next(), /enough/);
  await assert.rejects(
    client.query(MyBalancesDocument, {}, { signal: AbortSignal.abort(new Error("too late")) }),
    /too late/,
  );
  const late = client.subscribe(
    PortionsLeftDocument,
    { serving: house.serving },
    { signal: AbortSignal.abort(new Error("too late")) },
  );
  await assert.rejects(late.next(), /too late/);
});

test("amounts of ten to the twelfth and more are read to the last fen", async () => {
  for (const amount of [...TRILLIONS, FORTUNE]) {
    const { myBalances } = await clientOf(await house.diner(amount), house.api).query(MyBalancesDocument, {});
    assert.deepEqual(myBalances[0]?.available, { amount, currency: "CNY" });
  }
  assert.notEqual(Number(FORTUNE).toFixed(2), FORTUNE, "a number would have lost it");
});

test("a day's lunch has types from the serving to the choice", async () => {
  const client = clientOf(await house.diner("1.00"), house.api);
  const { servings } = await client.query(LunchDocument, { date: house.date });
  assert.equal(servings.nodes[0]?.offers[0]?.options[0]?.choices[1]?.name, "麻辣 Hot");
});
