// The example page's lunch over a service that answers as each test tells it to: what a real one does once in a blue moon.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TiffinError, type OrderStatus, type PlaceOrderInput, type TiffinClient } from "tiffin-client";

import { Lunch } from "../../typescript/example/lunch.js";
import { inMemory, type Keep } from "../../typescript/example/pending.js";

interface Placing {
  readonly key: string;
  readonly input: PlaceOrderInput;
}

const money = (amount: string) => ({ amount, currency: "CNY" });
const offer = (dish: string, left: number, min = 1) => ({
  dish,
  name: dish,
  category: "热菜 Hot",
  left,
  withdrawn: false,
  price: money("10.00"),
  options: [{ name: "heat", min, max: 1, choices: ["mild", "hot"].map(name => ({ name, price: money("0.00") })) }],
});
const order = (id: string, status: OrderStatus, lines: PlaceOrderInput["lines"] = []) => ({
  __typename: "Order",
  id,
  status,
  lines,
});
const lost = new TiffinError("NO_ANSWER", "no answer", { retryable: true });

/** Stands for the client; `placing`, `cancelling` and so on are what the service does. */
class Service {
  readonly placed: Placing[] = [];
  cancelled = 0;
  balancesRead = 0;
  left = 9;
  readonly steps: ReturnType<typeof order>[] = [];
  placing: (call: Placing) => unknown = ({ key, input }) => order(key, "CONFIRMED", input.lines);
  cancelling: () => unknown = () => ({ order: order("one", "CANCELLED") });
  balances: () => unknown = () => [];
  menu: () => Promise<void> = () => Promise.resolve();
  portions: (signal: AbortSignal) => AsyncGenerator = async function* (this: Service, signal) {
    yield { offers: this.#offers(), withdrawn: false };
    await ended(signal);
  };

  #offers() {
    return [offer("noodles", this.left), offer("soup", 9, 0)];
  }

  get client(): TiffinClient {
    return {
      query: async (document: unknown) => {
        const text = String(document);
        if (text.includes("query MyOrders")) return { myOrders: { nodes: [] } };
        if (text.includes("query MyBalances")) {
          this.balancesRead += 1;
          return { myBalances: this.balances() };
        }
        const offers = this.#offers();
        await this.menu();
        const cutOff = new Date(Date.now() + 3_600_000).toISOString();
        const canteen = { id: "canteen", name: "canteen", zone: "Asia/Shanghai" };
        return {
          servings: { nodes: [{ id: "lunch", date: "2026-11-27", cutOff, withdrawn: false, canteen, offers }] },
        };
      },
      mutate: async (document: unknown, variables: { input: PlaceOrderInput }, options?: { key: string }) => {
        await new Promise(setImmediate);
        if (String(document).includes("mutation CancelOrder")) {
          this.cancelled += 1;
          return { cancelOrder: this.cancelling() };
        }
        const call = { key: options?.key ?? "", input: variables.input };
        this.placed.push(call);
        const outcome = await this.placing(call);
        if (outcome instanceof Error) throw outcome;
        return { placeOrder: outcome };
      },
      subscribe: (document: unknown, _: unknown, { signal }: { signal: AbortSignal }) =>
        String(document).includes("PortionsLeft") ? this.portions(signal) : this.#progress(signal),
    } as unknown as TiffinClient;
  }

  async *#progress(signal: AbortSignal) {
    for (let step = this.steps.shift(); step !== undefined; step = this.steps.shift()) yield { order: step };
    await ended(signal);
  }
}

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
}

async function opened(service: Service, keep: Keep = inMemory()): Promise<Lunch> {
  const lunch = new Lunch(service.client, () => {}, keep);
  await lunch.open("2026-11-27");
  return lunch;
}

async function until(is: () => boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !is(); await new Promise(resolve => setTimeout(resolve, 5)))
    if (Date.now() > end) throw new Error(`not within 20 seconds: ${is}`);
}

const asked = (service: Service) =>
  service.placed.map(({ input }) => input.lines.map(({ dish, quantity }) => `${dish} ${quantity}`).join());
const soldOut = { __typename: "SoldOut", message: "", offers: [{ dish: "noodles", asked: 5, left: 3 }] };

test("after a refusal nobody can order until what is left is told anew", async () => {
  const service = new Service();
  const lunch = await opened(service);
  lunch.want("noodles", { quantity: 5 });
  service.placing = () => soldOut;
  let tell = () => {};
  service.portions = async function* (signal) {
    await new Promise<void>(resolve => (tell = resolve));
    yield { offers: [offer("noodles", 2)], withdrawn: false };
    await ended(signal);
  };
  // The menu that is read is older than what is shown.
  await until(() => lunch.offer("noodles")?.left === 9);
  service.left = 4;
  const ordering = lunch.order();
  await new Promise(resolve => setTimeout(resolve, 100));
  assert.ok(lunch.busy, "the first message has not come");
  assert.equal(lunch.offer("noodles")?.left, 9, "the menu is no newer than what is shown");
  tell();
  await ordering;
  assert.equal(lunch.offer("noodles")?.left, 2);
  lunch.close();
});

test("while sockets are down, the menu as it was read has to do", async () => {
  const service = new Service();
  const lunch = await opened(service);
  lunch.want("noodles", { quantity: 5 });
  service.placing = () => soldOut;
  let isDown = true;
  service.portions = async function* (signal) {
    if (isDown) throw lost;
    yield { offers: [offer("noodles", 2)], withdrawn: false };
    await ended(signal);
  };
  service.left = 4;
  await lunch.order();
  assert.equal(lunch.offer("noodles")?.left, 4);
  assert.ok(lunch.isOld, "and it is said that it may be old");
  isDown = false;
  await until(() => lunch.offer("noodles")?.left === 2);
  assert.ok(!lunch.isOld);
  lunch.close();
});

test("two quick taps cancel once", async () => {
  const service = new Service();
  const lunch = await opened(service);
  await Promise.all([lunch.cancel("one"), lunch.cancel("one")]);
  assert.equal(service.cancelled, 1);
  assert.match(lunch.notice?.text ?? "", /paid back/);
  lunch.close();
});

test("an order that was placed stays so when the balances cannot be read after it", async () => {
  const service = new Service();
  const lunch = await opened(service);
  service.balances = () => {
    throw lost;
  };
  lunch.want("noodles", { quantity: 1 });
  await lunch.order();
  assert.match(lunch.notice?.text ?? "", /Ordered and paid/);
  await lunch.cancel("one");
  assert.match(lunch.notice?.text ?? "", /paid back/);
  lunch.close();
});

test("what is added after a lost answer is no second order", async () => {
  const service = new Service();
  const lunch = await opened(service);
  lunch.want("noodles", { quantity: 1 });
  service.placing = () => lost;
  await lunch.order();
  lunch.want("soup", { quantity: 1 });
  service.placing = ({ key, input }) => order(key, "CONFIRMED", input.lines);
  await lunch.order();
  assert.deepEqual(asked(service), ["noodles 1", "noodles 1"]);
  assert.equal(service.placed[0]?.key, service.placed[1]?.key);
  assert.equal(lunch.running.length, 1);
  assert.match(lunch.notice?.text ?? "", /tap again for the rest/);
  await lunch.order();
  assert.deepEqual(asked(service).slice(2), ["soup 1"]);
  assert.notEqual(service.placed[2]?.key, service.placed[0]?.key);
  assert.equal(lunch.wished.length, 0);
  lunch.close();
});

test("an order without an answer that is refused at last makes way for what is wished by now", async () => {
  const service = new Service();
  const lunch = await opened(service);
  lunch.want("noodles", { quantity: 5 });
  service.placing = () => lost;
  await lunch.order();
  lunch.want("noodles", { quantity: 3 });
  service.placing = ({ key, input }) =>
    input.lines[0]?.quantity === 5 ? soldOut : order(key, "CONFIRMED", input.lines);
  await lunch.order();
  assert.deepEqual(asked(service), ["noodles 5", "noodles 5", "noodles 3"]);
  assert.equal(new Set(service.placed.map(({ key }) => key)).size, 2);
  assert.match(lunch.notice?.text ?? "", /Ordered and paid/);
  lunch.close();
});

test("an order without an answer outlives a reload, and keeps its key", async () => {
  const [service, keep] = [new Service(), inMemory()];
  const first = await opened(service, keep);
  first.toggle("noodles", "heat", "hot");
  first.want("noodles", { quantity: 2 });
  service.placing = () => lost;
  await first.order();
  first.close();
  const second = await opened(service, keep);
  assert.match(second.notice?.text ?? "", /no answer yet/);
  service.placing = ({ key, input }) => order(key, "CONFIRMED", input.lines);
  await second.order();
  assert.deepEqual(service.placed[1], service.placed[0]);
  assert.equal(keep.get(), null);
  second.close();
});

test("what a lasting error answers was not ordered, and is not asked for again", async () => {
  const service = new Service();
  const lunch = await opened(service);
  lunch.want("noodles", { quantity: 1 });
  service.placing = () => new TiffinError("BAD_INPUT", "no", { retryable: false });
  await lunch.order();
  await lunch.order();
  assert.notEqual(service.placed[0]?.key, service.placed[1]?.key);
  lunch.close();
});

test("what is tapped while an order is under way stays wished", async () => {
  const service = new Service();
  const lunch = await opened(service);
  lunch.want("noodles", { quantity: 1 });
  const ordering = lunch.order();
  lunch.add("noodles", 2);
  lunch.add("soup", 1);
  await ordering;
  assert.deepEqual(
    lunch.wished.map(({ offer, wish }) => [offer.dish, wish.quantity]),
    [
      ["noodles", 2],
      ["soup", 1],
    ],
  );
  lunch.close();
});

test("a choice that need not be made can be taken back, and one that must be cannot", async () => {
  const lunch = await opened(new Service());
  for (const [dish, left] of [
    ["soup", []],
    ["noodles", ["hot"]],
  ] as const) {
    lunch.toggle(dish, "heat", "hot");
    assert.deepEqual(lunch.wish(dish).options["heat"], ["hot"]);
    lunch.toggle(dish, "heat", "hot");
    assert.deepEqual(lunch.wish(dish).options["heat"], left);
  }
  lunch.close();
});

test("when the kitchen cancels an order, the balances are read again", async () => {
  const service = new Service();
  const lunch = await opened(service);
  lunch.want("noodles", { quantity: 1 });
  service.placing = () => order("one", "CONFIRMED");
  service.steps.push(order("one", "CONFIRMED"), order("one", "CANCELLED"));
  await lunch.order();
  // Once when the page was opened, once after the order.
  await until(() => service.balancesRead > 2);
  lunch.close();
});
