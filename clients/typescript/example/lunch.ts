// A diner's lunch: what the page knows and does. Nothing here touches the document.

import {
  CancelOrderDocument,
  LunchDocument,
  MyBalancesDocument,
  MyOrdersDocument,
  newKey,
  OrderProgressDocument,
  PlaceOrderDocument,
  PortionsLeftDocument,
  TiffinError,
  type LunchQuery,
  type MyBalancesQuery,
  type MyOrdersQuery,
  type OrderStatus,
  type PlaceOrderInput,
  type TiffinClient,
} from "tiffin-client";

import { sum, type Money } from "./money.js";
import { why } from "./words.js";

export type Serving = LunchQuery["servings"]["nodes"][number];
export type Offer = Serving["offers"][number];
export type Order = MyOrdersQuery["myOrders"]["nodes"][number];
export type Balance = MyBalancesQuery["myBalances"][number];

/** What is wanted of a dish: how many, and one choice or more of each group. */
export interface Wish {
  readonly quantity: number;
  readonly options: Readonly<Record<string, readonly string[]>>;
}

export interface Notice {
  readonly kind: "good" | "bad";
  readonly text: string;
}

/** After these nothing happens to an order that this page shows. */
const OVER: ReadonlySet<OrderStatus> = new Set(["PICKED_UP", "NO_SHOW", "CANCELLED", "REFUSED", "EXPIRED"]);
/** So many days are looked through for something to order. */
const DAYS = 3;
/** Before what is watched is asked for anew, in milliseconds; the client has tried for some seconds by then. */
const WAIT = 1_000;

export class Lunch {
  servings: readonly Serving[] = [];
  chosen: string | undefined;
  wishes = new Map<string, Wish>();
  orders: readonly Order[] = [];
  balances: readonly Balance[] = [];
  notice: Notice | undefined;
  busy = false;
  readonly #client: TiffinClient;
  readonly #changed: () => void;
  /** An order without an answer yet: the same wishes are sent under the same key. */
  #pending: { readonly key: string; readonly input: string } | undefined;
  #watchingPortions: AbortController | undefined;
  readonly #leaving = new AbortController();
  readonly #watchedOrders = new Set<string>();

  constructor(client: TiffinClient, changed: () => void) {
    this.#client = client;
    this.#changed = changed;
  }

  get serving(): Serving | undefined {
    return this.servings.find(({ id }) => id === this.chosen);
  }

  /** Reads all that the page shows, and begins to watch what moves. */
  async open(today: string): Promise<void> {
    await this.#attempt(async () => {
      await Promise.all([this.#readServings(today), this.#readOrders(), this.#readBalances()]);
    });
  }

  /** Ends all that is watched. */
  close(): void {
    this.#leaving.abort();
    this.#watchingPortions?.abort();
  }

  choose(serving: string): void {
    this.chosen = serving;
    this.wishes.clear();
    this.notice = undefined;
    this.#watchPortions(serving);
    this.#changed();
  }

  wish(dish: string): Wish {
    const first = (min: number, names: readonly string[]) => names.slice(0, min);
    const groups = this.offer(dish)?.options ?? [];
    const options = groups.map(
      it =>
        [
          it.name,
          first(
            it.min,
            it.choices.map(({ name }) => name),
          ),
        ] as const,
    );
    return this.wishes.get(dish) ?? { quantity: 0, options: Object.fromEntries(options) };
  }

  want(dish: string, change: Partial<Wish>): void {
    this.wishes.set(dish, { ...this.wish(dish), ...change });
    this.#changed();
  }

  /** One portion more or fewer than are wished by now: two quick taps may come before the next drawing. */
  add(dish: string, portions: number): void {
    const { quantity } = this.wish(dish);
    const most = Math.max(quantity, this.offer(dish)?.left ?? 0);
    this.want(dish, { quantity: Math.max(0, Math.min(quantity + portions, most)) });
  }

  /** Chooses, or gives up what was chosen; of a group with one choice the last one counts. */
  toggle(dish: string, group: string, choice: string): void {
    const max = this.offer(dish)?.options.find(({ name }) => name === group)?.max ?? 1;
    const { options } = this.wish(dish);
    const chosen = options[group] ?? [];
    const others = max === 1 ? [] : chosen.filter(it => it !== choice);
    const next = max > 1 && chosen.includes(choice) ? others : [...others, choice].slice(-max);
    this.want(dish, { options: { ...options, [group]: next } });
  }

  offer(dish: string): Offer | undefined {
    return this.serving?.offers.find(offer => offer.dish === dish);
  }

  /** What one portion costs as it is wished. */
  price(offer: Offer): Money {
    const { options } = this.wish(offer.dish);
    const extra = offer.options.flatMap(group =>
      group.choices.filter(({ name }) => options[group.name]?.includes(name)).map(({ price }) => price),
    );
    const parts = [offer.price, ...extra].map(money => ({ money, times: 1 }));
    return sum(parts, offer.price.currency);
  }

  get wished(): readonly { readonly offer: Offer; readonly wish: Wish }[] {
    const offers = this.serving?.offers ?? [];
    return offers.map(offer => ({ offer, wish: this.wish(offer.dish) })).filter(({ wish }) => wish.quantity > 0);
  }

  get running(): readonly Order[] {
    return this.orders.filter(({ status }) => !OVER.has(status));
  }

  get past(): readonly Order[] {
    return this.orders.filter(({ status }) => OVER.has(status));
  }

  get total(): Money {
    const offers = this.serving?.offers ?? [];
    return sum(
      offers.map(offer => ({ money: this.price(offer), times: this.wish(offer.dish).quantity })),
      "CNY",
    );
  }

  async order(): Promise<void> {
    const { serving } = this;
    if (serving === undefined || this.wished.length === 0 || this.busy) return;
    await this.#attempt(async () => {
      const input = this.#input(serving);
      const text = JSON.stringify(input);
      // Whoever taps again after an answer was lost means the same order.
      if (this.#pending?.input !== text) this.#pending = { key: newKey(), input: text };
      const { placeOrder: outcome } = await this.#client.mutate(
        PlaceOrderDocument,
        { input },
        { key: this.#pending.key },
      );
      this.#pending = undefined;
      if (outcome.__typename === "Order") {
        this.wishes.clear();
        this.notice = { kind: "good", text: "已下单并付款 · Ordered and paid" };
        this.#put(outcome);
        await this.#readBalances();
        return;
      }
      const nameOf = (dish: string) => this.offer(dish)?.name ?? "";
      this.notice = { kind: "bad", text: why(outcome, nameOf, serving.canteen.zone) };
      // What can still be had stays wished.
      if (outcome.__typename === "SoldOut") {
        for (const { dish, left } of outcome.offers)
          this.want(dish, { quantity: Math.min(left, this.wish(dish).quantity) });
      }
      await this.#readAgain(serving);
    });
  }

  async cancel(order: string): Promise<void> {
    await this.#attempt(async () => {
      const { cancelOrder } = await this.#client.mutate(CancelOrderDocument, { order });
      this.#put(cancelOrder.order);
      this.notice = { kind: "good", text: "已取消，钱已退回 · Cancelled, and paid back" };
      await this.#readBalances();
    });
  }

  #input(serving: Serving): PlaceOrderInput {
    const lines = this.wished.map(({ offer, wish }) => ({
      dish: offer.dish,
      quantity: wish.quantity,
      // What the diner was shown: at another price nothing is ordered.
      unitPrice: this.price(offer),
      options: Object.entries(wish.options).flatMap(([group, names]) => names.map(choice => ({ group, choice }))),
    }));
    return { serving: serving.id, lines };
  }

  /** Does something, and says so if it cannot be done. */
  async #attempt(does: () => Promise<void>): Promise<void> {
    this.busy = true;
    this.notice = undefined;
    this.#changed();
    try {
      await does();
    } catch (error) {
      this.notice = { kind: "bad", text: complaint(error) };
    } finally {
      this.busy = false;
      this.#changed();
    }
  }

  async #readServings(today: string): Promise<void> {
    for (let day = 0; day < DAYS && this.servings.length === 0; day += 1) {
      const date = new Date(Date.parse(today) + day * 86_400_000).toISOString().slice(0, 10);
      const { servings } = await this.#client.query(LunchDocument, { date });
      const now = Date.now();
      this.servings = servings.nodes.filter(({ cutOff, withdrawn }) => !withdrawn && Date.parse(cutOff) > now);
    }
    const [first] = this.servings;
    if (first !== undefined) this.choose(first.id);
  }

  async #readAgain(serving: Serving): Promise<void> {
    const { servings } = await this.#client.query(LunchDocument, { date: serving.date });
    this.servings = this.servings.map(old => servings.nodes.find(({ id }) => id === old.id) ?? old);
    // A message that came while this was read may be newer; the first of the next ones is.
    if (this.chosen === serving.id) this.#watchPortions(serving.id);
  }

  async #readOrders(): Promise<void> {
    const { myOrders } = await this.#client.query(MyOrdersDocument, { first: 10 });
    for (const order of [...myOrders.nodes].reverse()) this.#put(order);
  }

  async #readBalances(): Promise<void> {
    this.balances = (await this.#client.query(MyBalancesDocument, {})).myBalances;
  }

  /** Shows an order as it is now, and watches it until it is over. */
  #put(order: Order): void {
    const known = this.orders.some(({ id }) => id === order.id);
    this.orders = known ? this.orders.map(it => (it.id === order.id ? order : it)) : [order, ...this.orders];
    if (!OVER.has(order.status) && !this.#watchedOrders.has(order.id)) void this.#watchOrder(order.id);
    this.#changed();
  }

  async #watchOrder(order: string): Promise<void> {
    this.#watchedOrders.add(order);
    await this.#keepWatching(this.#leaving.signal, async signal => {
      for await (const step of this.#client.subscribe(OrderProgressDocument, { order }, { signal })) {
        this.#put(step.order);
        if (OVER.has(step.order.status)) return;
      }
    });
    this.#watchedOrders.delete(order);
  }

  #watchPortions(serving: string): void {
    this.#watchingPortions?.abort();
    const watching = new AbortController();
    this.#watchingPortions = watching;
    void this.#keepWatching(watching.signal, async signal => {
      const messages = this.#client.subscribe(PortionsLeftDocument, { serving }, { signal });
      for await (const { offers, withdrawn } of messages) {
        this.servings = this.servings.map(it => (it.id === serving ? { ...it, offers, withdrawn } : it));
        this.#changed();
      }
    });
  }

  /**
   * Begins again for as long as the page is open: a phone may be without a network for longer than the client tries. The
   * first message is how things are by then.
   */
  async #keepWatching(signal: AbortSignal, watch: (signal: AbortSignal) => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await watch(signal);
      } catch (error) {
        if (signal.aborted) return;
        const again = error instanceof TiffinError && (error.retryable || error.code === "CURSOR_EXPIRED");
        if (!again) {
          this.notice = { kind: "bad", text: complaint(error) };
          return this.#changed();
        }
      }
      await new Promise(resolve => setTimeout(resolve, WAIT));
    }
  }
}

function complaint(error: unknown): string {
  if (!(error instanceof TiffinError)) return String(error);
  switch (error.code) {
    case "NO_ANSWER":
    case "SOCKET_CLOSED":
      return "网络不通，再点一次也只算一单 · No answer came; tapping again orders only once";
    case "UNAUTHENTICATED":
      return "请重新登录 · Your token is not valid any more";
    case "KITCHEN_LOCKED":
      return "厨房已备餐，不能取消 · Too late: the kitchen has locked";
    default:
      return error.message;
  }
}
