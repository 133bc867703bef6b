// The example page on a phone: a diner has lunch, and meets what can go wrong.

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, afterEach, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";

import { launched, visit } from "./support/browser.js";
import { House, TRILLIONS, type Person } from "./support/house.js";
import { ROOT } from "./support/program.js";

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
/** Where pictures of the page are put, for people who want to look; nowhere if it is not said. */
const PICTURES = process.env["TIFFIN_PICTURES"];

let house: House;
let browser: Browser;
let server: ChildProcess;
let site: string;

before(async () => {
  [house, browser] = await Promise.all([House.open(), launched()]);
  server = spawn(process.execPath, [join(ROOT, "clients/typescript/example/serve.mjs"), house.url, "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  assert.ok(server.stdout);
  for await (const line of createInterface({ input: server.stdout })) {
    site = line;
    break;
  }
});
// A page that stays open draws each message of the house, and slows all that follow.
afterEach(() => Promise.all(browser.contexts().map(context => context.close())));
after(async () => {
  server.kill();
  await browser.close();
  await house.stop();
});

/** The page as `who` sees it, on a phone. */
async function phone(
  who: Person,
): Promise<{ page: Page; strangers: string[]; complaints: string[]; messages: string[] }> {
  const { context, strangers, complaints } = await visit(browser, [site], PHONE);
  const page = await context.newPage();
  const messages: string[] = [];
  page.on("websocket", socket => socket.on("framereceived", ({ payload }) => messages.push(payload.toString())));
  await page.goto(`${site}#token=${who.token}`);
  await page.getByRole("heading", { name: "麻婆豆腐饭" }).waitFor();
  return { page, strangers, complaints, messages };
}

/** Waits until another message has come to the page, and it has had the time to draw. */
async function told(page: Page, messages: string[], word: string): Promise<void> {
  for (const until = Date.now() + 60_000; !messages.some(it => it.includes(word)); await page.waitForTimeout(20))
    assert.ok(Date.now() < until, `no message with ${word}`);
  await page.evaluate(() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn))));
}

const add = (page: Page, dish: string) => page.getByRole("button", { name: `+ ${dish}` }).click();
const order = (page: Page) => page.getByRole("button", { name: "下单 Order" }).click();
const notice = (page: Page, text: string | RegExp) => page.getByRole("status").filter({ hasText: text }).waitFor();
const wallet = (page: Page, amount: string) =>
  page.getByLabel("余额 Balances").getByText(amount, { exact: true }).waitFor();

async function picture(page: Page, name: string): Promise<void> {
  if (PICTURES === undefined) return;
  await page.screenshot({ path: join(PICTURES || mkdtempSync(join(tmpdir(), "tiffin-")), `${name}.png`) });
}

test("a diner orders lunch, sees it cooked and collects it", async () => {
  const diner = await house.diner("100.00");
  const { page, strangers, complaints } = await phone(diner);
  assert.ok(!page.url().includes("token"), "the token does not stay in the address");
  await wallet(page, "¥100.00");
  await picture(page, "menu");
  await add(page, "麻婆豆腐饭");
  await page.getByRole("button", { name: "麻辣 Hot" }).click();
  await add(page, "凉拌黄瓜");
  await add(page, "凉拌黄瓜");
  await page.getByText("¥24.50", { exact: true }).waitFor();
  await picture(page, "basket");
  await order(page);
  await notice(page, "Ordered and paid");
  await wallet(page, "¥75.50");

  const orders = page.getByLabel("我的订单 My orders");
  const reached = (status: string) => orders.locator(".reached").filter({ hasText: status }).waitFor();
  await reached("Ordered");
  const { myOrders } = await house.ask<{
    myOrders: { nodes: { id: string; lines: { name: string; quantity: number; options: { choice: string }[] }[] }[] };
  }>(diner, "{ myOrders { nodes { id lines { name quantity options { choice } } } } }");
  assert.deepEqual(
    myOrders.nodes[0]?.lines.map(line => [line.name, line.quantity, ...line.options.map(({ choice }) => choice)]),
    [
      ["麻婆豆腐饭", 1, "麻辣 Hot"],
      ["凉拌黄瓜", 2],
    ],
  );
  const id = myOrders.nodes[0]?.id ?? "";
  await house.move("prepare", id);
  await reached("Cooking");
  await house.move("markReady", id);
  await reached("Ready");
  await orders.getByText("Pickup code").waitFor();
  await orders.scrollIntoViewIfNeeded();
  await picture(page, "ready");
  assert.deepEqual(strangers, []);
  assert.deepEqual(complaints, []);
});

test("an order is cancelled, and the money is back", async () => {
  const { page } = await phone(await house.diner("50.00"));
  await add(page, "红烧牛肉面");
  await order(page);
  await wallet(page, "¥32.00");
  await page.getByRole("button", { name: "取消 Cancel" }).click();
  await notice(page, "paid back");
  await wallet(page, "¥50.00");
  await page.getByLabel("以前的订单 Past orders").getByText("已取消 Cancelled").waitFor();
});

test("who was slower sees what is left, and when nothing is", async () => {
  const [slow, quick] = [await house.diner("100.00"), await house.diner("100.00")];
  const { page } = await phone(slow);
  await add(page, "海南鸡饭");
  await add(page, "海南鸡饭");
  // Its messages are held up, so that the page cannot know in time.
  const ordered = house.order(quick, "海南鸡饭");
  await page.route("**/graphql", async route => {
    await ordered;
    if (route.request().postData()?.includes("query Lunch") !== true) return route.continue();
    // The menu that is read after a refusal comes later than the message that the last one is gone.
    const response = await route.fetch();
    await house.order(quick, "海南鸡饭");
    await page.getByText("售罄 Sold out").waitFor();
    await route.fulfill({ response });
  });
  await order(page);
  await notice(page, "只剩 1 份");
  await picture(page, "sold-out");
  await page.getByRole("button", { name: "下单 Order", disabled: false }).waitFor();
  await page.getByText("售罄 Sold out").waitFor();
  assert.equal(await house.orders(slow), 0);
});

test("two quick taps count as two", async () => {
  const { page } = await phone(await house.diner("100.00"));
  // The second comes before the page is drawn again.
  const twice = (name: string) =>
    page.getByRole("button", { name, exact: true }).evaluate((button: HTMLButtonElement) => {
      button.click();
      button.click();
    });
  await twice("+ 凉拌黄瓜");
  await page.getByText("¥12.00", { exact: true }).waitFor();
  await twice("− 凉拌黄瓜");
  await page.getByText("0 份 portions").waitFor();
});

test("a click counts though a message comes between its press and its end", async () => {
  const { page, messages } = await phone(await house.diner("100.00"));
  const more = page.getByRole("button", { name: "+ 凉拌黄瓜" });
  await more.evaluate(button => button.scrollIntoView({ block: "center" }));
  const { x, y, width, height } = (await more.boundingBox()) ?? assert.fail("the button has no place");
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.down();
  messages.length = 0;
  await house.order(await house.diner("100.00"), "红烧牛肉面");
  await told(page, messages, "portionsLeft");
  await page.mouse.up();
  await page.getByText("1 份 portions").waitFor();
});

test("who works the page by keyboard stays on the order that was gone to", async () => {
  const diner = await house.diner("100.00");
  const orders = [await house.order(diner, "红烧牛肉面"), await house.order(diner, "红烧牛肉面")];
  const { page, messages } = await phone(diner);
  const cancels = page.getByRole("button", { name: "取消 Cancel 红烧牛肉面 × 1" });
  await cancels.nth(1).focus();
  messages.length = 0;
  await house.order(await house.diner("100.00"), "红烧牛肉面");
  await told(page, messages, "portionsLeft");
  assert.equal(await cancels.count(), orders.length);
  assert.ok(await cancels.nth(1).evaluate(button => button === document.activeElement));
  await page.keyboard.press("Space");
  await notice(page, "paid back");
  assert.equal(await cancels.count(), 1);
});

test("a price that has changed is shown, and paid only after another tap", async () => {
  const diner = await house.diner("100.00");
  const { page } = await phone(diner);
  await add(page, "红烧牛肉面");
  await page.route("**/graphql", async route => {
    if (route.request().postData()?.includes("PlaceOrder") === true) await house.setPrice("红烧牛肉面", "19.50");
    await route.continue();
  });
  await order(page);
  await notice(page, "¥18.00 → ¥19.50");
  assert.equal(await house.orders(diner), 0);
  await page.getByLabel("菜单 Menu").getByText("¥19.50", { exact: true }).waitFor();
  await order(page);
  await notice(page, "Ordered and paid");
  await wallet(page, "¥80.50");
});

test("who cannot pay is told what is short", async () => {
  const { page } = await phone(await house.diner("10.00"));
  await add(page, "麻婆豆腐饭");
  await order(page);
  await notice(page, "还差 ¥2.50");
  await wallet(page, "¥10.00");
});

test("who comes after the cut-off is told when it was", async () => {
  const diner = await house.diner("100.00");
  const { page } = await phone(diner);
  await add(page, "凉拌黄瓜");
  // No test waits for half past ten.
  const closed = { __typename: "Closed", message: "ordering has closed", at: "2026-11-23T02:30:00Z" };
  await page.route("**/graphql", route =>
    route.request().postData()?.includes("PlaceOrder") === true
      ? route.fulfill({ json: { data: { placeOrder: closed } } })
      : route.continue(),
  );
  await order(page);
  await notice(page, "已于 10:30 截止");
});

test("a diner whose network fails taps again, and has one order", async () => {
  const diner = await house.diner("100.00");
  const { page } = await phone(diner);
  await add(page, "凉拌黄瓜");
  // Carried out, and the answer lost; then nothing gets through at all.
  let sent = 0;
  await page.route("**/graphql", async route => {
    if (route.request().postData()?.includes("PlaceOrder") !== true) return route.continue();
    sent += 1;
    if (sent === 1) await route.fetch();
    return sent <= 6 ? route.abort() : route.continue();
  });
  await order(page);
  await notice(page, "tapping again orders only once");
  await order(page);
  await notice(page, "Ordered and paid");
  assert.equal(await house.orders(diner), 1);
});

test("a page of a site that is named may ask, and reads how far its write was; others' pages may not", async () => {
  const open = await House.open("--allow-origin", new URL(site).origin);
  try {
    const diner = await open.diner("100.00");
    const { context } = await visit(browser, [site, open.url, house.url], PHONE);
    const page = await context.newPage();
    await page.goto(site);
    const ask = (url: string) =>
      page.evaluate(
        async ({ url, token, body }) => {
          const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
          const answer = await fetch(url, { method: "POST", headers, body }).catch(() => undefined);
          return answer?.headers.get("x-consistency-token");
        },
        {
          url,
          token: diner.token,
          body: JSON.stringify({
            query: `mutation ($key: UUID!, $input: PlaceOrderInput!) {
              placeOrder(input: $input, idempotencyKey: $key) { __typename } }`,
            variables: {
              key: "018f4d0e-7c1a-7b3e-9a52-0242ac120002",
              input: { serving: open.serving, lines: [{ dish: open.dish("凉拌黄瓜"), quantity: 1 }] },
            },
          }),
        },
      );
    assert.equal(typeof (await ask(open.api)), "string");
    assert.equal(await ask(house.api), undefined);
  } finally {
    await open.stop();
  }
});

test("a token is pasted where none is in the address, and a wealthy diner sees every fen", async () => {
  const [, amount] = TRILLIONS;
  const { token } = await house.diner(amount);
  const { context } = await visit(browser, [site], PHONE);
  const page = await context.newPage();
  await page.goto(site);
  await picture(page, "login");
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "进入 Enter" }).click();
  await wallet(page, "¥1,000,000,000,000.01");
  await page.getByRole("button", { name: "退出 Leave" }).click();
  await page.getByLabel("Token").waitFor();
});
