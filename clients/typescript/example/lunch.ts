// A diner's lunch: what the page knows and does. Nothing here touches the document.

import {
  CancelOrderDocument,
  LunchDocument,
  MyBalancesDocument,
  MyOrdersDocument,
  OrderProgressDocument,
  PlaceOrderDocument,
  PortionsLeftDocument,
  TiffinError,
  type LunchQuery,
  type MyBalancesQuery,
  type MyOrdersQuery,
  type OrderStatus,
  type PlaceOrderInput,
  type PlaceOrderMutation,
  type TiffinClient,
} from "tiffin-client";

import { sum, type Money } from "./money.js";
import { inMemory, isSame, Pending, type Keep, type Sent } from "./pending.js";
import { why, type Refusal } from "./words.js";

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
/** Of these the money goes back. */
const PAID_BACK: ReadonlySet<OrderStatus> = new Set(["CANCELLED", "REFUSED", "EXPIRED"]);
/** So many days are looked through for something to order. */
const DAYS = 3;
/** Before what is watched is asked for anew, in milliseconds; the client has tried for some seconds by then. */
const WAIT = 1_000;
/** So long is waited for the first message of what is watched anew, in milliseconds. */
const FIRST = 3_000;

export class Lunch {
  servings: readonly Serving[] = [];
  chosen: string | undefined;
  wishes = new Map<string, Wish>();
  orders: readonly Order[] = [];
  balances: readonly Balance[] = [];
  notice: Notice | undefined;
  busy = false;
  /** There was no socket for so long that less may be left than is shown. */
  isOld = false;
  readonly #client: TiffinClient;
  readonly #changed: () => void;
  readonly #pending: Pending;
  #watchingPortions: AbortController | undefined;
  readonly #leaving = new AbortController();
  readonly #watchedOrders = new Set<string>();

  /** `keep` holds an order without an answer; one that outlives the page is asked for again when it is open anew. */
  constructor(client: TiffinClient, changed: () => void, keep: Keep = inMemory()) {
    this.#client = client;
    this.#pending = new Pending(keep);
    this.#changed = changed;
  }

  get serving(): Serving | undefined {
    return this.servings.find(({ id }) => id === this.chosen);
  }

  /** Reads all that the page shows, and begins to watch what moves. */
  async open(today: string): Promise<void> {
    await this.#attempt(async () => {
      await Promise.all([this.#readServings(today), this.#readOrders(), this.#readBalances()]);
      this.#takeUp(this.#pending.sent);
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
    void this.#watchPortions(serving);
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

  /** Chooses, or gives up what was chosen and need not be; of a group with one choice the last one counts. */
  toggle(dish: string, group: string, choice: string): void {
    const { min, max } = this.offer(dish)?.options.find(({ name }) => name === group) ?? { min: 1, max: 1 };
    const { options } = this.wish(dish);
    const chosen = options[group] ?? [];
    const others = max === 1 ? [] : chosen.filter(it => it !== choice);
    const isGivenUp = chosen.includes(choice) && (max > 1 || min === 0);
    const next = isGivenUp ? others : [...others, choice].slice(-max);
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
    const isPlaced = await this.#attempt(async () => {
      const input = this.#input(serving);
      // One without an answer may have been placed, so it comes first and as it was: beside it, what is wished by now would
      // be a second order.
      const earlier = this.#pending.sent;
      let isEarlier = earlier !== undefined && !isSame(earlier.input, input);
      let outcome = await this.#send(earlier ?? this.#pending.begin(input));
      if (isEarlier && outcome.__typename !== "Order") {
        // It is out of the way.
        isEarlier = false;
        outcome = await this.#send(this.#pending.begin(input));
      }
      if (outcome.__typename !== "Order") {
        await this.#refused(serving, outcome);
        return false;
      }
      this.#say("good", isEarlier && this.wished.length > 0 ? EARLIER : "已下单并付款 · Ordered and paid");
      return true;
    });
    if (isPlaced === true) await this.#readBalancesAgain();
  }

  async cancel(order: string): Promise<void> {
    if (this.busy) return;
    const isCancelled = await this.#attempt(async () => {
      const { cancelOrder } = await this.#client.mutate(CancelOrderDocument, { order });
      this.#put(cancelOrder.order);
      this.#say("good", "已取消，钱已退回 · Cancelled, and paid back");
      return true;
    });
    if (isCancelled === true) await this.#readBalancesAgain();
  }

  /** Sends an order until it has an answer, and shows it if it was placed. What was ordered is wished no more. */
  async #send({ key, input }: Sent): Promise<PlaceOrderMutation["placeOrder"]> {
    try {
      const { placeOrder: outcome } = await this.#client.mutate(PlaceOrderDocument, { input }, { key });
      this.#pending.settled();
      if (outcome.__typename === "Order") {
        this.#takeOff(input);
        this.#put(outcome);
      }
      return outcome;
    } catch (error) {
      this.#pending.failed(error);
      throw error;
    }
  }

  async #refused(serving: Serving, refusal: Refusal): Promise<void> {
    const nameOf = (dish: string) => this.offer(dish)?.name ?? "";
    this.#say("bad", why(refusal, nameOf, serving.canteen.zone));
    // What can still be had stays wished.
    if (refusal.__typename === "SoldOut") {
      for (const { dish, left } of refusal.offers)
        this.want(dish, { quantity: Math.min(left, this.wish(dish).quantity) });
    }
    await this.#readAgain(serving);
  }

  /** What was tapped while the order was under way stays wished. */
  #takeOff({ serving, lines }: PlaceOrderInput): void {
    if (serving !== this.chosen) return;
    for (const { dish, quantity } of lines) {
      const wish = this.wishes.get(dish);
      if (wish !== undefined && wish.quantity > quantity)
        this.wishes.set(dish, { ...wish, quantity: wish.quantity - quantity });
      else this.wishes.delete(dish);
    }
  }

  /** Wishes again what was ordered before the page was closed, and has no answer. */
  #takeUp(sent: Sent | undefined): void {
    if (sent === undefined || !this.servings.some(({ id }) => id === sent.input.serving)) return;
    this.choose(sent.input.serving);
    for (const { dish, quantity, options = [] } of sent.input.lines) {
      const chosen: Record<string, string[]> = {};
      for (const { group, choice } of options) (chosen[group] ??= []).push(choice);
      this.wishes.set(dish, { quantity, options: { ...this.wish(dish).options, ...chosen } });
    }
    this.#say("bad", UNANSWERED);
  }

  #say(kind: Notice["kind"], text: string): void {
    this.notice = { kind, text };
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
  async #attempt<T>(does: () => Promise<T>): Promise<T | undefined> {
    this.busy = true;
    this.notice = undefined;
    this.#changed();
    try {
      return await does();
    } catch (error) {
      this.#say("bad", complaint(error));
      return undefined;
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
    // A message that came while this was read may be newer; the first of the next ones is, and it is waited for.
    const isTold = this.chosen === serving.id && (await this.#watchPortions(serving.id));
    const isShown = (id: string) => id === this.chosen && (isTold || id !== serving.id);
    this.servings = this.servings.map(old => {
      const read = servings.nodes.find(({ id }) => id === old.id) ?? old;
      return isShown(old.id) ? { ...read, offers: old.offers, withdrawn: old.withdrawn } : read;
    });
  }

  async #readOrders(): Promise<void> {
    const { myOrders } = await this.#client.query(MyOrdersDocument, { first: 10 });
    for (const order of [...myOrders.nodes].reverse()) this.#put(order);
  }

  async #readBalances(): Promise<void> {
    this.balances = (await this.#client.query(MyBalancesDocument, {})).myBalances;
  }

  /** Someone else has ended an order: the money follows, at once or a moment later. */
  async #readPaidBack(): Promise<void> {
    await this.#readBalancesAgain();
    await new Promise(resolve => setTimeout(resolve, WAIT));
    if (!this.#leaving.signal.aborted) await this.#readBalancesAgain();
  }

  /** After the answer that has changed them: that one stands, though these may not be had. */
  async #readBalancesAgain(): Promise<void> {
    try {
      await this.#readBalances();
      this.#changed();
    } catch {
      // They are old until something else changes them.
    }
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
        const known = this.orders.find(({ id }) => id === order);
        this.#put(step.order);
        if (known?.status !== step.order.status && PAID_BACK.has(step.order.status)) void this.#readPaidBack();
        if (OVER.has(step.order.status)) return;
      }
    });
    this.#watchedOrders.delete(order);
  }

  /** Watches what is left; tells whether the first message came soon. */
  #watchPortions(serving: string): Promise<boolean> {
    this.#watchingPortions?.abort();
    const watching = new AbortController();
    this.#watchingPortions = watching;
    return new Promise(resolve => {
      const late = setTimeout(() => resolve(false), FIRST);
      const told = (isTold: boolean) => {
        clearTimeout(late);
        resolve(isTold);
      };
      const watched = this.#keepWatching(watching.signal, async signal => {
        try {
          const messages = this.#client.subscribe(PortionsLeftDocument, { serving }, { signal });
          for await (const { offers, withdrawn } of messages) {
            this.servings = this.servings.map(it => (it.id === serving ? { ...it, offers, withdrawn } : it));
            this.isOld = false;
            this.#changed();
            told(true);
          }
        } finally {
          this.isOld = !signal.aborted;
          this.#changed();
        }
      });
      void watched.then(() => told(false));
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

const EARLIER = "之前的一单已下好，其余的再点一次下单 · Your earlier order was placed; tap again for the rest";
const UNANSWERED =
  "上一单还没有回音，再点一次也只算一单 · Your last order has no answer yet; tapping again orders only once";

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
