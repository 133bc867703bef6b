// The programs in the guides of the API, as they stand; the rest of the guides is run by graphql/src/tests/guides.rs.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { House } from "./support/house.js";
import { ROOT } from "./support/program.js";

const GUIDES = join(ROOT, "docs/api");

test("the guide's client of sockets is told what is left", async () => {
  const programs = readdirSync(GUIDES)
    .filter(file => file.endsWith(".md"))
    .flatMap(file => [...readFileSync(join(GUIDES, file), "utf8").matchAll(/```(?:js|ts)\n(.*?)```/gs)]);
  assert.equal(programs.length, 1, "and no other program is in the guides");
  const [[, program = ""] = []] = programs;
  const house = await House.open();
  try {
    const api = house.api.replace(/^http/, "ws");
    assert.ok(program.includes('url: "ws://127.0.0.1:8080/graphql"'), program);
    const whole = `
      import WebSocket from "ws";
      globalThis.WebSocket ??= WebSocket;
      const token = async () => process.env.TOKEN;
      ${program.replace("ws://127.0.0.1:8080/graphql", api)}
      const query = "subscription($serving: ID!) { portionsLeft(serving: $serving) { offers { name left } } }";
      for await (const { data } of client.iterate({ query, variables: { serving: process.env.SERVING } })) {
        console.log(JSON.stringify(data));
        break;
      }
      await client.dispose();`;
    const { token } = await house.diner("1.00");
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", whole], {
      cwd: join(ROOT, "clients/tests"),
      env: { ...process.env, TOKEN: token, SERVING: house.serving },
    });
    const { portionsLeft } = JSON.parse(stdout) as { portionsLeft: { offers: { name: string; left: number }[] } };
    assert.equal(portionsLeft.offers.find(({ name }) => name === "海南鸡饭")?.left, 2, stdout);
  } finally {
    await house.stop();
  }
});
