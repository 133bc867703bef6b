// A real Chromium, which loads pages and is listened to.

import { execFileSync } from "node:child_process";
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions } from "playwright-core";

const QUIET = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export async function launched(): Promise<Browser> {
  return chromium.launch({ executablePath: found(), args: QUIET });
}

function found(): string {
  try {
    return execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim();
  } catch {
    throw new Error("chromium is missing; run: scripts/install.sh");
  }
}

/** A window, and what its pages did that they should not have. */
export interface Visit {
  readonly context: BrowserContext;
  /** Addresses of other origins that were asked for. */
  readonly strangers: string[];
  /** What pages complained of: errors of scripts, and what their policy forbade. */
  readonly complaints: string[];
}

export async function visit(
  browser: Browser,
  home: readonly string[],
  options?: BrowserContextOptions,
): Promise<Visit> {
  const context = await browser.newContext({ locale: "zh-CN", ...options });
  context.setDefaultTimeout(60_000);
  const origins = home.map(url => new URL(url).origin);
  const [strangers, complaints]: [string[], string[]] = [[], []];
  const heard = (url: string) => {
    const { protocol, origin } = new URL(url.replace(/^ws/, "http"));
    if (protocol.startsWith("http") && !origins.includes(origin)) strangers.push(url);
  };
  context.on("request", request => heard(request.url()));
  context.on("page", page => {
    page.on("websocket", socket => heard(socket.url()));
    page.on("pageerror", error => complaints.push(error.message));
    page.on("console", message => {
      // A service that is behind says so and is asked again; Chromium notes the status all the same.
      const isBehind = /^Failed to load resource: .* status of 503/.test(message.text());
      if (message.type() === "error" && !isBehind) complaints.push(message.text());
    });
  });
  return { context, strangers, complaints };
}
