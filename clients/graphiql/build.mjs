// Bundles GraphiQL into graphql/src/graphiql/, from where the server takes it. `node build.mjs DIR` writes elsewhere,
// for the test that compares.
import { build } from "esbuild";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const outdir = process.argv[2] ?? fileURLToPath(new URL("../../graphql/src/graphiql/", import.meta.url));

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { graphiql: "src/main.tsx" },
  outdir,
  bundle: true,
  minify: true,
  format: "iife",
  jsx: "automatic",
  target: ["chrome109", "firefox115", "safari16"],
  define: { "process.env.NODE_ENV": '"production"' },
  // Comments name a few licences; the file beside the bundle has them all.
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});

/** The folders of the packages that went into the bundle, in the order of their names. */
const packages = new Map();
for (const input of Object.keys(metafile.inputs)) {
  const [, root, name] = /^(.*node_modules\/)((?:@[^/]+\/)?[^/]+)\//.exec(input) ?? [];
  if (name !== undefined) packages.set(name, join(here, root, name));
}

/** Names that stand under the same text, by that text. */
const licences = new Map();
for (const [name, folder] of [...packages].sort(([one], [other]) => (one < other ? -1 : 1))) {
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find(it => /^(licen[cs]e|copying)/i.test(it));
  const text = file && existsSync(join(folder, file)) ? readFileSync(join(folder, file), "utf8").trim() : "";
  licences.set(text, [...(licences.get(text) ?? []), `${name} ${version} (${license})`]);
}
const parts = [...licences].map(([text, names]) => `${names.join("\n")}\n\n${text}`.trim());
const title = `What is bundled in graphiql.js and graphiql.css, and under which licences. The style sheet of GraphiQL embeds the
fonts Roboto (Apache-2.0) and Fira Code (OFL-1.1).`;
const rule = `\n\n${"-".repeat(80)}\n\n`;
writeFileSync(join(outdir, "LICENSES.txt"), `${[title, ...parts].join(rule).replaceAll("\r\n", "\n")}\n`);
