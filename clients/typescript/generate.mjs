// Makes types and documents for TypeScript of the SDL and of documents/*.graphql. `node generate.mjs FILE` writes elsewhere,
// for the test that compares.
import { codegen } from "@graphql-codegen/core";
import * as typedDocumentNode from "@graphql-codegen/typed-document-node";
import * as operations from "@graphql-codegen/typescript-operations";
import { buildSchema, parse, printSchema, validate } from "graphql";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format } from "prettier";

const at = path => fileURLToPath(new URL(path, import.meta.url));
const filename = process.argv[2] ?? at("src/generated.ts");

const sdl = buildSchema(readFileSync(at("../../graphql/schema.graphql"), "utf8"));
const documents = readdirSync(at("documents"))
  .filter(name => name.endsWith(".graphql"))
  .sort()
  .map(name => ({ location: name, document: parse(readFileSync(at(`documents/${name}`), "utf8")) }));
// Fragments of other files are known only to all of them together.
const whole = { kind: "Document", definitions: documents.flatMap(it => it.document.definitions) };
const mistakes = validate(sdl, whole);
if (mistakes.length > 0) throw new Error(mistakes.join("\n\n"));

const config = {
  // Amounts and large counts are text on the wire, and stay text: a number would lose what it cannot hold.
  scalars: {
    BigInt: "string",
    Date: "string",
    DateTime: "string",
    Decimal: "string",
    ID: "string",
    LocalDateTime: "string",
    PositiveInt: "number",
    UUID: "string",
  },
  strictScalars: true,
  useTypeImports: true,
  immutableTypes: true,
  // Documents as text: nothing has to print them again.
  documentMode: "string",
};

const made = await codegen({
  filename,
  schema: parse(printSchema(sdl)),
  schemaAst: sdl,
  documents,
  config,
  plugins: [{ operations: {} }, { typedDocumentNode: {} }],
  pluginMap: { operations, typedDocumentNode },
});
const notice = "// Made by generate.mjs of graphql/schema.graphql and documents/. Do not edit.\n\n";
writeFileSync(
  filename,
  await format(notice + made.replaceAll("Record<string, any>", "Record<string, unknown>"), {
    parser: "typescript",
    printWidth: 120,
    arrowParens: "avoid",
  }),
);
