// Relay's compiler takes the SDL, and what its conventions make of fragments fits it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { House } from "./support/house.js";
import { ROOT } from "./support/program.js";

const folder = mkdtempSync(join(tmpdir(), "tiffin-relay-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Compiles the sources in relay/, changed as said, and tells how often each was made. */
function compile(change: (source: string) => string = source => source): string {
  const project = join(folder, String(Math.random()).slice(2));
  const made = join(project, "made");
  mkdirSync(made, { recursive: true });
  const source = readFileSync(fileURLToPath(new URL("../relay/Lunch.js", import.meta.url)), "utf8");
  mkdirSync(join(project, "src"));
  writeFileSync(join(project, "src/Lunch.js"), change(source));
  cpSync(join(ROOT, "graphql/schema.graphql"), join(project, "schema.graphql"));
  const scalars = ["BigInt", "Date", "DateTime", "Decimal", "LocalDateTime", "UUID"].map(name => [name, "string"]);
  const config = {
    src: "./src",
    schema: "./schema.graphql",
    artifactDirectory: "./made",
    language: "typescript",
    eagerEsModules: true,
    customScalarTypes: { ...Object.fromEntries(scalars), PositiveInt: "number" },
    persistConfig: { file: "./made/queries.json" },
  };
  writeFileSync(join(project, "relay.config.json"), JSON.stringify(config));
  writeFileSync(join(project, "package.json"), "{}");
  writeFileSync(join(made, "queries.json"), "{}");
  const compiler = createRequire(import.meta.url)("relay-compiler") as string;
  execFileSync(compiler, ["relay.config.json"], { cwd: project, stdio: "pipe" });
  return made;
}

test("fragments that are paged, fetched again and given arguments compile", () => {
  const made = compile();
  const pages = readFileSync(join(made, "OrdersPageQuery.graphql.ts"), "utf8");
  assert.match(pages, /myOrders/);
  const again = readFileSync(join(made, "OrderRefetchQuery.graphql.ts"), "utf8");
  assert.match(again, /"name": "node"/, "an order is fetched again by its global id");
  const types = readFileSync(join(made, "LunchPlaceMutation.graphql.ts"), "utf8");
  assert.match(types, /readonly amount: string/, "money is text");
  assert.match(types, /readonly __typename: "SoldOut"/);
});

test("what the compiler wrote is answered by the service", async () => {
  const queries = Object.values(
    JSON.parse(readFileSync(join(compile(), "queries.json"), "utf8")) as object,
  ) as string[];
  const house = await House.open();
  try {
    const diner = await house.diner("100.00");
    const order = await house.order(diner, "凉拌黄瓜");
    const written = (name: string) => queries.find(text => text.includes(`query ${name}`)) ?? assert.fail(name);
    const page = await house.ask<{ myOrders: { edges: { node: { id: string } }[] } }>(
      diner,
      written("OrdersPageQuery"),
      {
        count: 5,
        cursor: null,
      },
    );
    assert.deepEqual(
      page.myOrders.edges.map(({ node }) => node.id),
      [order],
    );
    const again = await house.ask<{ node: { status: string } }>(diner, written("OrderRefetchQuery"), {
      id: order,
      withLines: true,
    });
    assert.equal(again.node.status, "CONFIRMED");
  } finally {
    await house.stop();
  }
});

test("a field that there is not fails to compile", () => {
  assert.throws(() => compile(source => source.replace("placedAt", "placedBy")), /placedBy/);
});
