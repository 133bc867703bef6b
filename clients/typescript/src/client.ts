// The client: queries, mutations that are done once, subscriptions that go on.

import type { DocumentTypeDecoration } from "@graphql-typed-document-node/core";
import type { Client } from "graphql-ws";

import { TiffinError } from "./errors.js";
import { send } from "./http.js";
import { newKey } from "./key.js";
import { delay, pause, retrying, USUAL, type RetryPolicy } from "./retry.js";
import { connect, ended, type Bearer } from "./socket.js";

export interface ClientOptions {
  /** The address of the API, such as `http://127.0.0.1:8080/graphql`. */
  readonly url: string | URL;
  /** The bearer token; asked for anew for each request and each socket, so that one that expires can be replaced. */
  readonly token: () => string | Promise<string>;
  readonly retry?: Partial<RetryPolicy>;
  /** Another `fetch`. */
  readonly fetch?: typeof fetch;
  /** A WebSocket class, where the platform has none. */
  readonly webSocket?: unknown;
}

export interface CallOptions {
  /** Ends the call, which then throws the signal's reason. A mutation may have been carried out all the same. */
  readonly signal?: AbortSignal;
}

export interface MutateOptions extends CallOptions {
  /**
   * The idempotency key, where a call shall be repeated after the page was closed: make it with `newKey` and keep it
   * until there is an answer.
   */
  readonly key?: string;
}

/** A document with the types of its answer and its variables, as `generate.mjs` makes them. */
export type Document<Data, Variables> = DocumentTypeDecoration<Data, Variables> & { toString(): string };

/** `close` waits so long for a socket to end well, in milliseconds. */
const LEAVING = 1_000;
/** As many consistency tokens a reader may bring. */
const MOST_WRITES = 8;

/** What a subscription's one field tells. */
type Message<Data> = Data[keyof Data];

/** One person's connection to the API. Another person needs a client of their own. */
export class TiffinClient {
  readonly #url: string;
  readonly #options: ClientOptions;
  readonly #policy: RetryPolicy;
  readonly #bearer: Bearer;
  #socket: Client | undefined;
  /** Ends all that is watched, also what waits between two sockets. */
  #closing = new AbortController();
  /** Of the last writes. They cannot be compared here, and answers to those that overlap come in any order. */
  #written: string[] = [];

  constructor(options: ClientOptions) {
    this.#url = new URL(options.url).href;
    this.#options = options;
    this.#policy = { ...USUAL, ...options.retry };
    // Its end would be the end of the next one too, if that were of the same connector.
    const token = () =>
      this.#token().catch((error: unknown) => {
        this.#socket = undefined;
        throw error;
      });
    this.#bearer = { token, refused: undefined };
  }

  /** Asks. What this client has written before is in the answer. */
  async query<Data, Variables>(
    document: Document<Data, Variables>,
    variables: Variables,
    { signal }: CallOptions = {},
  ): Promise<Data> {
    return (await this.#send(document, variables, this.#consistencyToken(), signal)) as Data;
  }

  /**
   * Changes something, once: the key is made here and is the same however often the request has to be sent. Refusals
   * that are types of the schema are answers; all else is thrown as {@link TiffinError}.
   */
  async mutate<Data, Variables extends { key: string }>(
    document: Document<Data, Variables>,
    variables: Omit<Variables, "key">,
    { key = newKey(), signal }: MutateOptions = {},
  ): Promise<Data> {
    return (await this.#send(document, { ...variables, key }, undefined, signal)) as Data;
  }

  /**
   * Watches. When the socket breaks, it connects again and goes on after the last message: nothing twice, nothing left
   * out. It ends when the caller leaves the loop, the client is closed or the signal says so, and throws a {@link TiffinError} when it cannot go
   * on; with the code `CURSOR_EXPIRED` query the state, and subscribe without `after`.
   */
  async *subscribe<Data extends Record<keyof Data, { cursor: string }>, Variables extends { after?: string | null }>(
    document: Document<Data, Variables>,
    variables: Variables,
    { signal }: CallOptions = {},
  ): AsyncGenerator<Message<Data>, void, undefined> {
    const ending = new AbortController();
    const closing = this.#closing.signal;
    const end = () => ending.abort();
    closing.addEventListener("abort", end, { once: true });
    signal?.addEventListener("abort", end, { once: true });
    try {
      signal?.throwIfAborted();
      yield* this.#goOn(document, variables, ending.signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (!closing.aborted) throw error;
    } finally {
      closing.removeEventListener("abort", end);
      signal?.removeEventListener("abort", end);
    }
  }

  /** Ends its socket and all that is watched over it. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#closing = new AbortController();
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined) return;
    let late: ReturnType<typeof setTimeout> | undefined;
    const leaving = new Promise<void>(resolve => (late = setTimeout(resolve, LEAVING)));
    // One that was still connecting may never get there, or fails, which is an end too.
    await Promise.race([Promise.resolve(socket.dispose()).catch(() => undefined), leaving]);
    clearTimeout(late);
    socket.terminate();
  }

  /** The messages of one socket after the other. */
  async *#goOn<Data extends Record<keyof Data, { cursor: string }>, Variables extends { after?: string | null }>(
    document: Document<Data, Variables>,
    variables: Variables,
    signal: AbortSignal,
  ): AsyncGenerator<Message<Data>, void, undefined> {
    let after = variables.after;
    for (let attempt = 1; ; attempt += 1) {
      const began = Date.now();
      try {
        for await (const message of this.#watch<Data>(document, { ...variables, after }, signal)) {
          after = message.cursor;
          attempt = 1;
          yield message;
        }
        return;
      } catch (cause) {
        signal.throwIfAborted();
        const error = ended(cause);
        // One that lasted was well, though there was nothing to tell.
        if (Date.now() - began > 2 * this.#policy.longestDelay) attempt = 1;
        const wait = delay(this.#policy, attempt, error);
        if (wait === undefined) throw error;
        await pause(wait, signal);
      }
    }
  }

  /** The caller's token; what keeps it from being had is an error as any other. */
  async #token(): Promise<string> {
    try {
      return await this.#options.token();
    } catch (cause) {
      if (cause instanceof TiffinError) throw cause;
      throw TiffinError.noAnswer("the caller has no token", cause);
    }
  }

  async #send(
    document: { toString(): string },
    variables: unknown,
    consistencyToken: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const { fetch: fetching = globalThis.fetch.bind(globalThis) } = this.#options;
    const query = document.toString();
    const { timeout } = this.#policy;
    const answer = await retrying(this.#policy, signal, async () =>
      send(fetching, {
        url: this.#url,
        token: await this.#token(),
        query,
        variables,
        consistencyToken,
        timeout,
        signal,
      }),
    );
    if (answer.consistencyToken !== undefined) {
      this.#written = [...this.#written, answer.consistencyToken].slice(-MOST_WRITES);
    }
    return answer.data;
  }

  #consistencyToken(): string | undefined {
    return this.#written.length === 0 ? undefined : this.#written.join(", ");
  }

  /** The messages of one socket, until it ends. */
  async *#watch<Data>(
    document: { toString(): string },
    variables: Record<string, unknown>,
    signal: AbortSignal,
  ): AsyncGenerator<Message<Data>, void, undefined> {
    this.#socket ??= connect(this.#url.replace(/^http/, "ws"), this.#bearer, this.#options.webSocket);
    const consistencyToken = this.#consistencyToken();
    const extensions = consistencyToken === undefined ? undefined : { consistencyToken };
    const answers = this.#socket.iterate<Record<string, Message<Data>>>({
      query: document.toString(),
      variables,
      ...(extensions && { extensions }),
    });
    const end = () => void answers.return?.();
    signal.addEventListener("abort", end, { once: true });
    try {
      for await (const { data, errors } of answers) {
        if (errors !== undefined && errors.length > 0) throw TiffinError.of(errors, data);
        yield* Object.values(data ?? {});
      }
      signal.throwIfAborted();
    } finally {
      signal.removeEventListener("abort", end);
    }
  }
}
