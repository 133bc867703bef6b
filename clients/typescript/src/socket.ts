// The WebSocket beneath subscriptions. It does not connect again by itself: whoever watches goes on from a cursor, and a
// library that sent the first request anew would begin at the first cursor.

import { createClient, type Client } from "graphql-ws";

import { TiffinError, type Coded } from "./errors.js";

/** After so long without a message a ping is sent, in milliseconds. */
const PING = 10_000;
/** And after so long without its answer the socket is given up. */
const PONG = 5_000;
/** So long a socket may take to open, and then so long to be acknowledged, in milliseconds. */
const OPENING = 10_000;
/** The token has expired. */
const FORBIDDEN = 4403;
/** After these a new socket would end the same way. */
const FOR_GOOD = new Set([1009, 4400, 4401, 4406, 4409, 4429]);

/** Asks the caller for a token; one that was refused, since it has expired, is refused for ever. */
export interface Bearer {
  readonly token: () => Promise<string>;
  refused: string | undefined;
}

export function connect(url: string, bearer: Bearer, webSocket: unknown, opening = OPENING): Client {
  let dead: ReturnType<typeof setTimeout> | undefined;
  let used: string | undefined;
  const client = createClient({
    url,
    webSocketImpl: within(opening, webSocket ?? globalThis.WebSocket),
    connectionAckWaitTimeout: opening,
    connectionParams: async () => {
      used = await bearer.token();
      if (used === bearer.refused)
        throw new TiffinError("UNAUTHENTICATED", "the token has expired", { retryable: false });
      return { authorization: `Bearer ${used}` };
    },
    retryAttempts: 0,
    lazyCloseTimeout: 1_000,
    keepAlive: PING,
    on: {
      ping: received => {
        if (received) return;
        dead = setTimeout(() => client.terminate(), PONG);
      },
      pong: received => {
        if (received) clearTimeout(dead);
      },
      closed: event => {
        clearTimeout(dead);
        if (!(event instanceof Object && "code" in event)) return;
        if (event.code === FORBIDDEN) bearer.refused = used;
        // The library takes a normal end for a reason to begin at the first cursor again; here it is one as any other.
        if (event.code === 1000) client.terminate();
      },
    },
  });
  return client;
}

type SocketClass = new (...args: ConstructorParameters<typeof WebSocket>) => WebSocket;

/** A WebSocket that is closed unless it opens in time: a network may swallow what it is sent, and say nothing. */
function within(milliseconds: number, webSocket: unknown): unknown {
  if (typeof webSocket !== "function") return webSocket;
  return class extends (webSocket as SocketClass) {
    constructor(...args: ConstructorParameters<typeof WebSocket>) {
      super(...args);
      const late = setTimeout(() => this.close(), milliseconds);
      // Nobody else listens once it is given up, and Node.js ends a program for an error that nobody hears.
      this.addEventListener("error", () => undefined);
      for (const name of ["open", "close"]) this.addEventListener(name, () => clearTimeout(late));
    }
  };
}

/** What a subscription ended with, as an error of ours. */
export function ended(cause: unknown): TiffinError {
  if (cause instanceof TiffinError) return cause;
  if (Array.isArray(cause)) return TiffinError.of(cause as Coded[]);
  if (typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "number") {
    const reason = "reason" in cause && typeof cause.reason === "string" ? cause.reason : "";
    const message = `the socket was closed: ${cause.code} ${reason}`.trimEnd();
    return new TiffinError("SOCKET_CLOSED", message, { retryable: !FOR_GOOD.has(cause.code), cause });
  }
  return TiffinError.noAnswer("the socket failed", cause);
}
