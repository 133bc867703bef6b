// The WebSocket beneath subscriptions. It does not connect again by itself: whoever watches goes on from a cursor, and a
// library that sent the first request anew would begin at the first cursor.

import { createClient, type Client } from "graphql-ws";

import { TiffinError, type Coded } from "./errors.js";

/** After so long without a message a ping is sent, in milliseconds. */
const PING = 10_000;
/** And after so long without its answer the socket is given up. */
const PONG = 5_000;
/** After these a new socket would end the same way. */
const FOR_GOOD = new Set([1009, 4400, 4401, 4406, 4409, 4429]);

export function connect(url: string, token: () => string | Promise<string>, webSocket: unknown): Client {
  let dead: ReturnType<typeof setTimeout> | undefined;
  const client = createClient({
    url,
    webSocketImpl: webSocket,
    connectionParams: async () => ({ authorization: `Bearer ${await token()}` }),
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
        // The library takes a normal end for a reason to begin at the first cursor again; here it is one as any other.
        if (event instanceof Object && "code" in event && event.code === 1000) client.terminate();
      },
    },
  });
  return client;
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
