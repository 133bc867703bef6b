// What needs no service: keys, waits, and the example page's amounts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { newKey, TiffinError } from "tiffin-client";

import { isZero, shown, sum } from "../../typescript/example/money.js";
import { delay, pause, USUAL } from "../../typescript/src/retry.js";
import { carrying } from "./support/carrying.js";

test("keys are UUIDs of version 7, each another, in the order of time", () => {
  const keys = [0, 1, 2 ** 32 - 1, 2 ** 32, Date.now(), 2 ** 48 - 1].map(newKey);
  for (const key of keys) assert.match(key, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual([...keys].sort(), keys);
  assert.equal(new Set(Array.from({ length: 10_000 }, () => newKey(0))).size, 10_000);
});

test("pauses grow, are random, and never shorter than what the service asks for", () => {
  const error = (retryable: boolean, retryAfter?: number) => new TiffinError("ANY", "", { retryable, retryAfter });
  const longest = [1, 2, 3, 4, 5].map(attempt => delay(USUAL, attempt, error(true), () => 1));
  assert.deepEqual(longest, [200, 400, 800, 1_600, 3_200]);
  assert.equal(
    delay(USUAL, 5, error(true), () => 0),
    0,
    "the whole span is random",
  );
  assert.equal(
    delay({ ...USUAL, attempts: 99 }, 50, error(true), () => 1),
    USUAL.longestDelay,
  );
  assert.equal(
    delay(USUAL, 1, error(true, 3_000), () => 0.5),
    3_100,
  );
  assert.equal(delay(USUAL, 6, error(true)), undefined, "the last attempt has failed");
  assert.equal(delay(USUAL, 1, error(false)), undefined);
  assert.equal(delay(USUAL, 1, error(true, USUAL.patience + 1)), undefined, "the caller decides on long waits");
});

test("a pause ends with its signal", async () => {
  const ending = new AbortController();
  setTimeout(() => ending.abort(new Error("enough")), 10);
  await assert.rejects(pause(60_000, ending.signal), /enough/);
});

test("errors of one answer are repeated only if all of them may be", () => {
  const error = (code: string, retryable: boolean) => ({ message: code, extensions: { code, retryable } });
  assert.equal(TiffinError.of([error("STALE", true), error("TIMEOUT", true)]).retryable, true);
  assert.equal(TiffinError.of([error("STALE", true), error("NOT_FOUND", false)]).retryable, false);
  assert.equal(TiffinError.of([{ message: "no extensions" }]).code, "INTERNAL");
  assert.equal(TiffinError.of([]).retryable, false);
});

test("amounts are added as they are written", () => {
  const money = (amount: string) => ({ amount, currency: "CNY" });
  const add = (...parts: (readonly [string, number])[]) =>
    sum(
      parts.map(([amount, times]) => ({ money: money(amount), times })),
      "CNY",
    ).amount;
  assert.equal(add(["0.10", 1], ["0.20", 1]), "0.30");
  assert.equal(add(["999999999999999.99", 3], ["0.03", 1]), "3000000000000000.00");
  assert.equal(add(["1000000000000", 1], ["0.01", 1]), "1000000000000.01", "places may differ");
  assert.equal(add(["-5.05", 1], ["5.00", 1]), "-0.05");
  assert.equal(add(), "0");
  assert.ok(isZero(money("0.00")) && !isZero(money("0.01")));
  assert.equal(shown(money("-1234567.50")), "−¥1,234,567.50");
  assert.equal(shown({ amount: "1000000000000", currency: "JPY" }), "¥1,000,000,000,000");
});

test("what the tests ask a service that is behind is asked again as it was", async () => {
  const failed = (code: string, retryable: boolean) =>
    new Response(JSON.stringify({ data: null, errors: [{ message: code, extensions: { code, retryable } }] }));
  const answers = [failed("STALE", true), failed("UNAVAILABLE", true), failed("NOT_FOUND", false)];
  const bodies: unknown[] = [];
  const asking = carrying((_, init) => {
    bodies.push(init?.body);
    return Promise.resolve(answers.shift() ?? failed("INTERNAL", false));
  });
  const answer = await asking("http://service/graphql", { method: "POST", body: "a key" });
  assert.match(await answer.text(), /NOT_FOUND/);
  assert.deepEqual(bodies, ["a key", "a key", "a key"]);
});
