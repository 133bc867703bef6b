// A canteen that takes orders for tomorrow, asked without any client: what the tests set up, and look at behind a client's back.

import { createClient, type Client } from "graphql-ws";
import { randomUUID } from "node:crypto";
import WebSocket from "ws";

import { carrying } from "./carrying.js";
import { Program } from "./program.js";

/** A bearer, and the UUID of whose it is. */
export interface Person {
  readonly token: string;
  readonly id: string;
}

const TENANT = "00000000-0000-7000-8000-0000000000c1";
/** What a wallet may hold and a number of JavaScript cannot: it would be a whole yuan off. */
export const FORTUNE = "999999999999999.99";
/** Ten to the twelfth yuan, and a fen more. */
export const TRILLIONS = ["1000000000000.00", "1000000000000.01"] as const;

export class House {
  readonly program: Program;
  readonly url: string;
  readonly finance: Person;
  readonly staff: Person;
  canteen = "";
  serving = "";
  /** Tomorrow, the day of the serving. */
  readonly date = new Date(Date.now() + 36 * 3_600_000).toISOString().slice(0, 10);
  /** Global ids of the dishes by their names. */
  readonly dishes = new Map<string, string>();

  readonly #fetch = carrying();
  readonly #sockets: Client[] = [];

  private constructor(program: Program, url: string) {
    this.program = program;
    this.url = url;
    this.finance = this.person("finance");
    this.staff = this.person("canteen", "--canteen", "all");
  }

  static async open(...args: string[]): Promise<House> {
    const program = Program.start("serve", "--payments", "stand-in", ...args);
    try {
      const { url } = await program.line<{ url: string }>();
      const house = new House(program, url);
      await house.#serve();
      return house;
    } catch (error) {
      await program.stop();
      throw error;
    }
  }

  get api(): string {
    return new URL("/graphql", this.url).href;
  }

  person(role: string, ...args: string[]): Person {
    const made = this.program.run<{ token: string; subject: string }>(
      "token",
      "--tenant",
      TENANT,
      "--role",
      role,
      ...args,
    );
    return { token: made.token, id: made.subject };
  }

  /** A diner with so much in the wallet. */
  async diner(amount: string): Promise<Person> {
    const diner = this.person("diner");
    const account = { kind: "WALLET", owner: diner.id };
    const document = `mutation ($key: UUID!, $account: AccountInput!, $amount: MoneyInput!) {
      topUp(account: $account, amount: $amount, source: BANK, idempotencyKey: $key) { topUp { status } } }`;
    await this.ask(this.finance, document, { key: randomUUID(), account, amount: { amount, currency: "CNY" } });
    return diner;
  }

  dish(name: string): string {
    const id = this.dishes.get(name);
    if (id === undefined) throw new Error(`there is no ${name}`);
    return id;
  }

  /** An answer's data; throws what went wrong. Whatever it changed can be read by everybody afterwards. */
  async ask<T = unknown>(who: Person, query: string, variables: Record<string, unknown> = {}): Promise<T> {
    const headers = { "content-type": "application/json", authorization: `Bearer ${who.token}` };
    const body = JSON.stringify({ query, variables });
    const answer = await this.#fetch(this.api, { method: "POST", headers, body });
    const { data, errors } = (await answer.json()) as { data: T; errors?: unknown };
    if (errors !== undefined) throw new Error(JSON.stringify(errors));
    return query.startsWith("mutation") ? (await this.ask(who, "{ viewer { actor } }"), data) : data;
  }

  /** Places an order and tells its global id. */
  async order(who: Person, dish: string, quantity = 1): Promise<string> {
    const { placeOrder } = await this.ask<{ placeOrder: { id?: string } }>(
      who,
      `mutation ($key: UUID!, $input: PlaceOrderInput!) {
        placeOrder(input: $input, idempotencyKey: $key) { __typename ... on Order { id } } }`,
      { key: randomUUID(), input: { serving: this.serving, lines: [{ dish: this.dish(dish), quantity }] } },
    );
    if (placeOrder.id === undefined) throw new Error(JSON.stringify(placeOrder));
    return placeOrder.id;
  }

  async move(how: "prepare" | "markReady", order: string): Promise<void> {
    const document = `mutation ($key: UUID!, $order: ID!) { ${how}(order: $order, idempotencyKey: $key) { order { status } } }`;
    await this.ask(this.staff, document, { key: randomUUID(), order });
  }

  /** How many orders somebody has. */
  async orders(who: Person): Promise<number> {
    const { myOrders } = await this.ask<{ myOrders: { nodes: unknown[] } }>(
      who,
      "{ myOrders(first: 100) { nodes { id } } }",
    );
    return myOrders.nodes.length;
  }

  async setPrice(dish: string, amount: string): Promise<void> {
    const document = `mutation ($key: UUID!, $serving: ID!, $dish: ID!, $price: MoneyInput!) {
      setPrice(serving: $serving, dish: $dish, price: $price, idempotencyKey: $key) { serving { id } } }`;
    const price = { amount, currency: "CNY" };
    await this.ask(this.staff, document, { key: randomUUID(), serving: this.serving, dish: this.dish(dish), price });
  }

  /** A socket of somebody as graphql-ws makes it, which ends with the house. */
  socket({ token }: Person): Client {
    const url = this.api.replace(/^http/, "ws");
    const socket = createClient({
      url,
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${token}` },
    });
    this.#sockets.push(socket);
    return socket;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#sockets.map(socket => socket.dispose()));
    await this.program.stop();
  }

  async #serve(): Promise<void> {
    const opened = await this.ask<{ openCanteen: { canteen: { id: string } } }>(
      this.staff,
      `mutation ($key: UUID!) {
        openCanteen(name: "滨江食堂 Riverside", zone: "Asia/Shanghai", currency: "CNY", idempotencyKey: $key) { canteen { id } } }`,
      { key: randomUUID() },
    );
    this.canteen = opened.openCanteen.canteen.id;
    const spice = { name: "辣度 Heat", min: 1, max: 1, choices: ["不辣 Mild", "麻辣 Hot"].map(choice) };
    const plan = [
      { name: "麻婆豆腐饭", category: "热菜 Hot", price: "12.50", portions: 100, options: [spice] },
      { name: "红烧牛肉面", category: "热菜 Hot", price: "18.00", portions: 100, options: [] },
      { name: "海南鸡饭", category: "热菜 Hot", price: "22.00", portions: 2, options: [] },
      { name: "凉拌黄瓜", category: "小菜 Sides", price: "6.00", portions: 100, options: [] },
    ];
    for (const { name, category, price, options } of plan) {
      const spec = { name, category, price: { amount: price, currency: "CNY" }, options };
      const { putDish } = await this.ask<{ putDish: { dish: { id: string } } }>(
        this.staff,
        `mutation ($key: UUID!, $canteen: ID!, $spec: DishInput!) {
          putDish(canteen: $canteen, spec: $spec, idempotencyKey: $key) { dish { id } } }`,
        { key: randomUUID(), canteen: this.canteen, spec },
      );
      this.dishes.set(name, putDish.dish.id);
    }
    const serving = {
      canteen: this.canteen,
      date: this.date,
      meal: "LUNCH",
      opens: `${new Date(Date.now() - 24 * 3_600_000).toISOString().slice(0, 10)}T00:00`,
      cutOff: `${this.date}T10:30`,
      dinerLimit: 20,
      offers: plan.map(({ name, portions }) => ({ dish: this.dish(name), portions })),
    };
    const { publishServing } = await this.ask<{ publishServing: { serving: { id: string } } }>(
      this.staff,
      `mutation ($key: UUID!, $serving: ServingInput!) {
        publishServing(serving: $serving, idempotencyKey: $key) { serving { id } } }`,
      { key: randomUUID(), serving },
    );
    this.serving = publishServing.serving.id;
  }
}

function choice(name: string) {
  return { name, price: { amount: "0.00", currency: "CNY" } };
}
