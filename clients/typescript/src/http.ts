// One request over HTTP and what came of it.

import { TiffinError, type Coded } from "./errors.js";

export const CONSISTENCY_HEADER = "x-consistency-token";

export interface Answer {
  readonly data: unknown;
  /** Where what was written can be read, if something was. */
  readonly consistencyToken: string | undefined;
}

export interface Request {
  readonly url: string;
  readonly token: string;
  readonly query: string;
  readonly variables: unknown;
  /** How far what is read must have come. */
  readonly consistencyToken: string | undefined;
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
}

interface Body {
  readonly data?: unknown;
  readonly errors?: readonly Coded[];
  readonly extensions?: Readonly<Record<string, unknown>>;
}

/** Sends it once. Throws a {@link TiffinError}, or the reason of the caller's signal. */
export async function send(fetching: typeof fetch, request: Request): Promise<Answer> {
  const { response, text } = await exchanged(fetching, request);
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  const retryAfter = Number.isFinite(seconds) ? seconds * 1000 : undefined;
  const body = parsed(text);
  if (body === undefined) {
    const message = `the answer is none of the service's: HTTP ${response.status}`;
    // A page of a proxy that is not well may be another in a moment; a wrong address stays wrong.
    const isForGood = response.status >= 400 && response.status < 500 && ![408, 429].includes(response.status);
    if (isForGood) throw new TiffinError("NO_ANSWER", message, { retryable: false });
    throw TiffinError.noAnswer(message, undefined, retryAfter);
  }
  if (body.errors !== undefined && body.errors.length > 0) throw TiffinError.of(body.errors, body.data, retryAfter);
  const said = body.extensions?.["consistencyToken"] ?? response.headers.get(CONSISTENCY_HEADER);
  return { data: body.data, consistencyToken: typeof said === "string" ? said : undefined };
}

async function exchanged(fetching: typeof fetch, request: Request): Promise<{ response: Response; text: string }> {
  const { url, token, query, variables, consistencyToken, signal } = request;
  const headers: Record<string, string> = { "content-type": "application/json", authorization: `Bearer ${token}` };
  if (consistencyToken !== undefined) headers[CONSISTENCY_HEADER] = consistencyToken;
  signal?.throwIfAborted();
  const within = new AbortController();
  const end = () => within.abort(signal?.reason);
  const timer = setTimeout(() => within.abort(new Error("the service did not answer in time")), request.timeout);
  signal?.addEventListener("abort", end, { once: true });
  try {
    const body = JSON.stringify({ query, variables });
    const response = await fetching(url, { method: "POST", headers, body, signal: within.signal });
    return { response, text: await response.text() };
  } catch (cause) {
    signal?.throwIfAborted();
    throw TiffinError.noAnswer("the service did not answer", cause);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}

/** A GraphQL answer; undefined if it is none. */
function parsed(text: string): Body | undefined {
  try {
    const body: unknown = JSON.parse(text);
    const isAnswer = typeof body === "object" && body !== null && ("data" in body || "errors" in body);
    return isAnswer ? (body as Body) : undefined;
  } catch {
    return undefined;
  }
}
