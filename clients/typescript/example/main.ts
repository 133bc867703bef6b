// The page: what Lunch knows, as elements.

import { TiffinClient } from "tiffin-client";

import { Drawing } from "./drawing.js";
import { Lunch, type Offer, type Order } from "./lunch.js";
import { shown } from "./money.js";
import type { Keep } from "./pending.js";
import { ACCOUNT, clock, MEAL, STATUS, STEPS } from "./words.js";
import "./style.css";

const KEPT = "tiffin-token";
const PENDING = "tiffin-pending";
const place = document.getElementById("page");

type Child = Node | string | undefined | false;
type Properties<Name extends keyof HTMLElementTagNameMap> = Partial<Omit<HTMLElementTagNameMap[Name], "children">>;

/** An element; a button has a name of its own, by which it is found again after a drawing. Texts become text nodes: what a canteen calls a dish is never markup. */
function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  properties: Properties<Name>,
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter(child => child !== undefined && child !== false));
  return element;
}

/** The token behind `#token=`, which does not stay in the address, or the one that was kept for this tab. */
function kept(): string | null {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    sessionStorage.setItem(KEPT, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEPT);
}

/** Whose a token is: it may be replaced by a newer one of the same person. */
function subject(token: string): string {
  try {
    const [, claims = ""] = token.split(".");
    const { sub } = JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))) as { sub?: unknown };
    return typeof sub === "string" ? sub : token;
  } catch {
    return token;
  }
}

/** In this tab, beyond a reload; and for this person only, as nobody shall pay what another has ordered. */
function keepFor(token: string): Keep {
  const name = `${PENDING} ${subject(token)}`;
  return {
    get: () => sessionStorage.getItem(name),
    set: text => (text === null ? sessionStorage.removeItem(name) : sessionStorage.setItem(name, text)),
  };
}

function leave(): void {
  sessionStorage.removeItem(KEPT);
  // All that is watched ends with the page.
  location.reload();
}

function login(): HTMLElement {
  const token = make("textarea", { rows: 5, placeholder: "eyJ…", ariaLabel: "Token", spellcheck: false });
  const enter = () => {
    sessionStorage.setItem(KEPT, token.value.trim());
    start();
  };
  return make(
    "main",
    { className: "login" },
    make("h1", {}, "午餐 Lunch"),
    make("p", {}, "粘贴令牌 · Paste a diner's token, as `tiffin demo` prints it"),
    token,
    make("button", { name: "enter", className: "primary", onclick: enter }, "进入 Enter"),
  );
}

function header(lunch: Lunch): HTMLElement {
  const { serving } = lunch;
  const balances = lunch.balances.map(({ kind, available }) =>
    make("li", {}, make("span", {}, ACCOUNT[kind]), make("strong", {}, shown(available))),
  );
  const servings = lunch.servings.map(({ id, canteen }) => {
    const choose = () => lunch.choose(id);
    const className = id === lunch.chosen ? "chip chosen" : "chip";
    return make("button", { name: `serving ${id}`, className, onclick: choose }, canteen.name);
  });
  const when = serving && `${serving.date} · ${clock(serving.cutOff, serving.canteen.zone)} 截止 closes`;
  return make(
    "header",
    {},
    make(
      "div",
      { className: "row" },
      make("h1", {}, serving ? MEAL[serving.meal] : "午餐 Lunch"),
      make("button", { name: "leave", className: "chip", onclick: leave }, "退出 Leave"),
    ),
    when !== undefined && make("p", { className: "when" }, when),
    make("ul", { className: "balances", ariaLabel: "余额 Balances" }, ...balances),
    lunch.servings.length > 1 && make("nav", {}, ...servings),
  );
}

function stepper(lunch: Lunch, { dish, name, left, withdrawn }: Offer): HTMLElement {
  const { quantity } = lunch.wish(dish);
  const step = (sign: string, by: number, disabled: boolean) =>
    make(
      "button",
      { name: `${sign} ${dish}`, ariaLabel: `${sign} ${name}`, disabled, onclick: () => lunch.add(dish, by) },
      sign,
    );
  const count = make("output", {}, String(quantity));
  return make(
    "div",
    { className: "stepper" },
    quantity > 0 && step("−", -1, false),
    quantity > 0 && count,
    step("+", 1, withdrawn || quantity >= left),
  );
}

function choices(lunch: Lunch, { dish, name: dishName, options }: Offer): HTMLElement[] {
  return options.map(({ name: group, choices }) => {
    const chosen = lunch.wish(dish).options[group] ?? [];
    const buttons = choices.map(({ name: choice, price }) => {
      const isChosen = chosen.includes(choice);
      const text = choice + (/[1-9]/.test(price.amount) ? ` +${shown(price)}` : "");
      const properties = {
        name: JSON.stringify([dish, group, choice]),
        ariaLabel: `${text}, ${dishName}`,
        ariaPressed: String(isChosen),
        className: isChosen ? "chip chosen" : "chip",
        onclick: () => lunch.toggle(dish, group, choice),
      };
      return make("button", properties, text);
    });
    return make("div", { className: "options" }, make("span", {}, group), ...buttons);
  });
}

function menu(lunch: Lunch): HTMLElement {
  const offers = lunch.serving?.offers ?? [];
  const categories = [...new Set(offers.map(({ category }) => category))];
  const card = (offer: Offer) => {
    const gone = offer.withdrawn || offer.left === 0;
    const left = gone ? "售罄 Sold out" : `剩 ${offer.left} left`;
    return make(
      "li",
      { className: gone ? "dish gone" : "dish" },
      make("div", { className: "about" }, make("h3", {}, offer.name), make("p", { className: "left" }, left)),
      make("strong", { className: "price" }, shown(lunch.price(offer))),
      stepper(lunch, offer),
      ...(lunch.wish(offer.dish).quantity > 0 ? choices(lunch, offer) : []),
    );
  };
  const lists = categories.flatMap(category => [
    make("h2", {}, category.replaceAll("_", " ")),
    make("ul", { className: "dishes" }, ...offers.filter(offer => offer.category === category).map(card)),
  ]);
  const nothing =
    !lunch.busy && make("p", { className: "empty" }, "这几天没有可点的餐 · Nothing to order in these days");
  const old =
    lunch.isOld &&
    make("p", { className: "old", role: "status" }, "网络不通，余量可能已变 · No connection: less may be left");
  return make("section", { ariaLabel: "菜单 Menu" }, old, ...(lists.length > 0 ? lists : [nothing]));
}

function progress({ status }: Order): HTMLElement {
  const reached = STEPS.indexOf(status);
  if (reached < 0) return make("p", { className: "ended" }, STATUS[status]);
  const steps = STEPS.map((step, index) => make("li", { className: index <= reached ? "reached" : "" }, STATUS[step]));
  return make("ol", { className: "steps" }, ...steps);
}

function order(lunch: Lunch, it: Order): HTMLElement {
  const isOpen = (it.status === "CONFIRMED" || it.status === "PLACED") && Date.parse(it.lockAt) > Date.now();
  const lines = it.lines.map(({ name, quantity }) => `${name} × ${quantity}`).join("，");
  const code = it.status === "READY" ? it.pickupCode : null;
  const cancelling = {
    name: `cancel ${it.id}`,
    ariaLabel: `取消 Cancel ${lines}`,
    disabled: lunch.busy,
    onclick: () => void lunch.cancel(it.id),
  };
  return make(
    "li",
    { className: `order ${it.status.toLowerCase()}` },
    make("div", { className: "row" }, make("h3", {}, lines), make("strong", { className: "price" }, shown(it.total))),
    make("p", { className: "when" }, `${it.serving.canteen.name} · ${it.serving.date}`),
    progress(it),
    code !== null && make("p", { className: "code" }, make("span", {}, "取餐码 Pickup code"), make("strong", {}, code)),
    isOpen && make("button", cancelling, "取消 Cancel"),
  );
}

function basket(lunch: Lunch): HTMLElement {
  const portions = lunch.wished.reduce((all, { wish }) => all + wish.quantity, 0);
  const disabled = lunch.busy || portions === 0;
  return make(
    "footer",
    {},
    lunch.notice && make("p", { className: `notice ${lunch.notice.kind}`, role: "status" }, lunch.notice.text),
    make(
      "div",
      { className: "basket" },
      make("div", {}, make("span", {}, `${portions} 份 portions`), make("strong", {}, shown(lunch.total))),
      make(
        "button",
        { name: "order", className: "primary", disabled, onclick: () => void lunch.order() },
        "下单 Order",
      ),
    ),
  );
}

function orders(lunch: Lunch, title: string, some: readonly Order[]): Child {
  if (some.length === 0) return false;
  return make(
    "section",
    { ariaLabel: title },
    make("h2", {}, title),
    make("ul", {}, ...some.map(it => order(lunch, it))),
  );
}

function page(lunch: Lunch): HTMLElement[] {
  const running = orders(lunch, "我的订单 My orders", lunch.running);
  const past = orders(lunch, "以前的订单 Past orders", lunch.past);
  return [header(lunch), make("main", {}, running, menu(lunch), past), basket(lunch)];
}

/** Puts the page in place; whoever works it by keyboard stays on the same button. */
function draw(elements: readonly HTMLElement[]): void {
  const focused = document.activeElement instanceof HTMLButtonElement ? document.activeElement.name : undefined;
  place?.replaceChildren(...elements);
  if (focused === undefined) return;
  [...document.querySelectorAll("button")].find(({ name }) => name === focused)?.focus({ preventScroll: true });
}

function start(): void {
  const token = kept();
  if (token === null || token === "") return place?.replaceChildren(login());
  const client = new TiffinClient({ url: new URL("/graphql", location.href), token: () => token });
  const drawing = new Drawing(() => draw(page(lunch)));
  const lunch: Lunch = new Lunch(client, () => drawing.soon(), keepFor(token));
  void lunch.open(new Intl.DateTimeFormat("sv-SE").format(new Date()));
}

start();
