// Serves the example page, and passes /graphql on to a Tiffin, so that both are one site:
// `node serve.mjs [http://127.0.0.1:8080 [PORT]]`. It prints its address.
import { build } from "esbuild";
import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const api = new URL(process.argv[2] ?? "http://127.0.0.1:8080");
const port = Number(process.argv[3] ?? 5173);

await build({
  absWorkingDir: here,
  entryPoints: ["main.ts"],
  outdir: "dist",
  bundle: true,
  minify: true,
  target: ["chrome109", "firefox115", "safari16"],
  logLevel: "warning",
});

const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/dist/main.js": ["dist/main.js", "text/javascript; charset=utf-8"],
  "/dist/main.css": ["dist/main.css", "text/css; charset=utf-8"],
};

// The host stays the page's own: by it a Tiffin tells its own pages' WebSockets from those of other sites.
const upstream = incoming => ({
  host: api.hostname,
  port: api.port,
  path: incoming.url,
  method: incoming.method,
  headers: incoming.headers,
});

const server = createServer(async (incoming, outgoing) => {
  if (incoming.url === "/graphql") {
    const passed = request(upstream(incoming), answer => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on("error", () => outgoing.writableEnded || outgoing.writeHead(502).end());
    incoming.pipe(passed);
    return;
  }
  const file = FILES[incoming.url];
  if (file === undefined) return outgoing.writeHead(404).end();
  outgoing.writeHead(200, { "content-type": file[1] }).end(await readFile(here + file[0]));
});

// A WebSocket's handshake and all that follows, as it is.
server.on("upgrade", (incoming, client, head) => {
  const { headers } = upstream(incoming);
  const passed = connect(Number(api.port), api.hostname, () => {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    passed.write(`GET ${incoming.url} HTTP/1.1\r\n${lines.join("")}\r\n`);
    passed.write(head);
    client.pipe(passed).pipe(client);
  });
  for (const [one, other] of [
    [client, passed],
    [passed, client],
  ]) {
    one.on("error", () => other.destroy());
    one.on("close", () => other.destroy());
  }
});

server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
