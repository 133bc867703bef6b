// What is made and checked in is what its makers make of the sources and the lock file.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { ROOT } from "./support/program.js";

const folder = mkdtempSync(join(tmpdir(), "tiffin-made-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function same(made: string, checkedIn: string): void {
  const [one, other] = [readFileSync(made), readFileSync(join(ROOT, checkedIn))];
  // Not assert.deepEqual: it would print a megabyte.
  assert.ok(one.equals(other), `${checkedIn} is not what its sources make; run: cd clients && npm run generate`);
}

test("the server's GraphiQL is what the lock file builds", () => {
  execFileSync(process.execPath, [join(ROOT, "clients/graphiql/build.mjs"), folder]);
  for (const file of ["graphiql.js", "graphiql.css", "LICENSES.txt"])
    same(join(folder, file), `graphql/src/graphiql/${file}`);
});

test("the client's types and documents are what the generator makes of the SDL", () => {
  execFileSync(process.execPath, [join(ROOT, "clients/typescript/generate.mjs"), join(folder, "generated.ts")]);
  same(join(folder, "generated.ts"), "clients/typescript/src/generated.ts");
});
