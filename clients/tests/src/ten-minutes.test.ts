// README's first ten minutes, as written, in a real browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import type { Browser } from "playwright-core";

import { launched, visit } from "./support/browser.js";
import { Graphiql } from "./support/graphiql.js";
import { FORTUNE, House, TRILLIONS } from "./support/house.js";
import { Program, ROOT } from "./support/program.js";

/** What `tiffin demo --json` prints last. */
interface Invitation {
  readonly url: string;
  readonly date: string;
  readonly tokens: { readonly diner: string; readonly canteen: string };
}

interface Serving {
  readonly id: string;
  readonly offers: readonly { readonly dish: string; readonly name: string; readonly left: number }[];
}

let browser: Browser;
before(async () => {
  browser = await launched();
});
afterEach(() => Promise.all(browser.contexts().map(context => context.close())));
after(() => browser.close());

/** The blocks of README's section in their order: the header, then each document with its variables. */
function readme(): { header: string; documents: Map<string, { query: string; variables: string }> } {
  const text = readFileSync(join(ROOT, "README.md"), "utf8");
  const section =
    /\n## The first ten minutes\n(.*?)\n## /s.exec(text)?.[1] ?? assert.fail("README has no such section");
  const [header, ...blocks] = [...section.matchAll(/```(graphql|json)\n(.*?)```/gs)].map(([, kind, body]) => ({
    kind,
    body,
  }));
  const documents = new Map<string, { query: string; variables: string }>();
  blocks.forEach(({ kind, body: query = "" }, index) => {
    if (kind !== "graphql") return;
    const next = blocks[index + 1];
    const variables = next?.kind === "json" ? (next.body ?? "") : "{}";
    documents.set(/(?:query|mutation|subscription) (\w+)/.exec(query)?.[1] ?? assert.fail(query), { query, variables });
  });
  return { header: header?.body ?? "", documents };
}

test("open GraphiQL, order, watch the kitchen's board move, read the balance", async () => {
  const demo = Program.start("demo", "--orders", "100");
  try {
    await demo.line();
    const { url, date, tokens } = await demo.line<Invitation>();
    const { header, documents } = readme();
    const { context, strangers, complaints } = await visit(browser, [url]);
    const as = (token: string) => Graphiql.open(context, url, header.replace("TOKEN", token));
    const send = (where: Graphiql, name: string, places: Record<string, string> = {}) => {
      const { query, variables } = documents.get(name) ?? assert.fail(`README has no ${name}`);
      return where.send(
        query,
        Object.entries(places).reduce((text, [place, id]) => text.replace(`"${place}"`, JSON.stringify(id)), variables),
      );
    };

    const diner = await as(tokens.diner);
    await send(diner, "Lunch", { DATE: date });
    const { servings } = await diner.answer<{ servings: { nodes: Serving[] } }>(it => "servings" in it);
    const [serving] = servings.nodes;
    const offer = serving?.offers.find(({ left }) => left > 0);
    assert.ok(serving && offer);

    const kitchen = await as(tokens.canteen);
    await send(kitchen, "Board", { SERVING: serving.id });
    interface Board {
      kitchenBoard: { tickets: { order: string; stage: string; lines: { name: string }[] }[] };
    }
    await kitchen.answer<Board>(it => it.kitchenBoard.tickets.length === 0);

    await send(diner, "Balance");
    type Balances = { myBalances: { kind: string; posted: { amount: string } }[] };
    const sum = ({ myBalances }: Balances) =>
      myBalances.reduce((all, { posted }) => all + Number(posted.amount) * 100, 0);
    const before = sum(await diner.answer<Balances>(it => "myBalances" in it));

    await send(diner, "Order", { SERVING: serving.id, DISH: offer.dish });
    type Placed = { placeOrder: { __typename: string; id: string; total: { amount: string } } };
    const { placeOrder } = await diner.answer<Placed>(it => "placeOrder" in it);
    assert.equal(placeOrder.__typename, "Order");

    const { kitchenBoard } = await kitchen.answer<Board>(it => it.kitchenBoard.tickets.length === 1);
    const [ticket] = kitchenBoard.tickets;
    assert.deepEqual([ticket?.order, ticket?.lines[0]?.name], [placeOrder.id, offer.name]);

    await send(diner, "Balance");
    const left = sum(await diner.answer<Balances>(it => "myBalances" in it));
    assert.equal(Math.round(before - left), Math.round(Number(placeOrder.total.amount) * 100));

    assert.deepEqual(strangers, [], "pages of the server ask nobody else");
    assert.deepEqual(complaints, []);
  } finally {
    await demo.stop();
  }
});

test("GraphiQL shows amounts of ten to the twelfth and more to the last fen", async () => {
  const house = await House.open();
  try {
    const { context } = await visit(browser, [house.url]);
    for (const amount of [...TRILLIONS, FORTUNE]) {
      const { token } = await house.diner(amount);
      const page = await Graphiql.open(context, house.url, JSON.stringify({ authorization: `Bearer ${token}` }));
      await page.send("{ myBalances { available { amount } } }");
      await page.answer(it => "myBalances" in (it as object));
      assert.match(await page.text("response"), new RegExp(`"amount": "${amount.replace(".", "\\.")}"`));
    }
  } finally {
    await house.stop();
  }
});
