// The example page's lunch without the page, over a network that is away for longer than the client tries.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TiffinClient } from "tiffin-client";
import WebSocket from "ws";

import { Lunch } from "../../typescript/example/lunch.js";
import { Flaky } from "./support/flaky.js";
import { House } from "./support/house.js";

test("what is watched is asked for anew when the client has given up", async () => {
  const house = await House.open();
  const flaky = await Flaky.before(house.api);
  const diner = await house.diner("100.00");
  const options = { token: () => diner.token, webSocket: WebSocket, retry: { attempts: 1 } };
  const client = new TiffinClient({ url: flaky.url, ...options });
  let told = () => {};
  const lunch = new Lunch(client, () => told());
  const until = (is: () => boolean) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not within 20 seconds: ${is}`)), 20_000);
      told = () => {
        if (!is()) return;
        clearTimeout(timer);
        resolve();
      };
      told();
    });
  try {
    await lunch.open(house.date);
    assert.equal(lunch.serving?.offers.length, 4);
    const noodles = house.dish("红烧牛肉面");
    lunch.want(noodles, { quantity: 1 });
    await lunch.order();
    assert.equal(lunch.running.length, 1, lunch.notice?.text);
    await until(() => lunch.offer(noodles)?.left === 99);
    const [order] = lunch.running;
    for (const [how, status] of [
      ["prepare", "PREPARING"],
      ["markReady", "READY"],
    ] as const) {
      flaky.cut();
      await house.move(how, order?.id ?? "");
      await until(() => lunch.running[0]?.status === status);
    }
    await house.order(await house.diner("100.00"), "红烧牛肉面");
    await until(() => lunch.offer(noodles)?.left === 98);
  } finally {
    lunch.close();
    await client.close();
    await flaky.stop();
    await house.stop();
  }
});
