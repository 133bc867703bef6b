// The client's README, whose examples are parts of a program that runs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import WebSocket from "ws";

import { haveLunch } from "../../typescript/example/readme.js";
import { House } from "./support/house.js";
import { ROOT } from "./support/program.js";

const FOLDER = join(ROOT, "clients/typescript");

test("README's examples are parts of the program", () => {
  const flat = (text: string) => text.replace(/\s+/g, " ").trim();
  const program = flat(readFileSync(join(FOLDER, "example/readme.ts"), "utf8"));
  const blocks = [...readFileSync(join(FOLDER, "README.md"), "utf8").matchAll(/```ts\n(.*?)```/gs)];
  assert.equal(blocks.length, 5);
  for (const [, block = ""] of blocks) assert.ok(program.includes(flat(block)), `not in the program: ${block}`);
});

test("the program has lunch", async () => {
  const house = await House.open();
  try {
    const diner = await house.diner("30.00");
    const said: string[] = [];
    await haveLunch(
      diner.token,
      house.api,
      house.date,
      text => {
        said.push(text);
        if (text === "CONFIRMED") void cook(house, diner);
      },
      WebSocket,
    );
    assert.deepEqual(said, ["ordered for 18.00", "CONFIRMED", "PREPARING", "READY", "the kitchen is not for diners"]);
    said.length = 0;
    await haveLunch(diner.token, house.api, house.date, text => said.push(text), WebSocket);
    assert.deepEqual(said, ["6.00 short"]);
  } finally {
    await house.stop();
  }
});

async function cook(house: House, diner: Awaited<ReturnType<House["diner"]>>): Promise<void> {
  const { myOrders } = await house.ask<{ myOrders: { nodes: { id: string }[] } }>(
    diner,
    "{ myOrders { nodes { id } } }",
  );
  const order = myOrders.nodes[0]?.id ?? "";
  await house.move("prepare", order);
  await house.move("markReady", order);
}
