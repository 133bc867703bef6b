// How GraphiQL asks: queries and mutations over HTTP, subscriptions over a WebSocket, both with what is under Headers.

import type { Fetcher } from "@graphiql/toolkit";
import { Kind, parse, type ExecutionResult } from "graphql";
import { createClient } from "graphql-ws";

type Headers = Record<string, string>;

/** What stands under Headers at first. It is sent as nobody's, who may read the schema. */
export const NOBODY = "Bearer TOKEN";

const isSubscription = (query: string, operationName?: string | null): boolean =>
  parse(query).definitions.some(
    it =>
      it.kind === Kind.OPERATION_DEFINITION &&
      it.operation === "subscription" &&
      (operationName == null || it.name?.value === operationName),
  );

/** A client of its own for each subscription, since the next may be another person's. */
async function* watch(url: string, headers: Headers, payload: Parameters<Fetcher>[0]) {
  const client = createClient({ url, connectionParams: headers, retryAttempts: 0, lazyCloseTimeout: 0 });
  try {
    const { query, variables, operationName } = payload;
    for await (const answer of client.iterate({ query, variables, operationName })) {
      yield answer as ExecutionResult;
    }
  } catch (cause) {
    throw cause instanceof CloseEvent ? new Error(`The socket was closed: ${cause.code} ${cause.reason}`) : cause;
  } finally {
    await client.dispose();
  }
}

export const fetcher =
  (url: URL): Fetcher =>
  (payload, options) => {
    const { authorization, ...others }: Headers = options?.headers ?? {};
    const headers: Headers = authorization && authorization !== NOBODY ? { authorization, ...others } : others;
    if (isSubscription(payload.query, payload.operationName)) {
      const socket = new URL(url);
      socket.protocol = url.protocol.replace("http", "ws");
      return watch(socket.href, headers, payload);
    }
    const body = JSON.stringify(payload);
    return fetch(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body }).then(
      answer => answer.json(),
    );
  };
