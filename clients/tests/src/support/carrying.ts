/** A service on a slow machine may not keep up for so long, in milliseconds. */
const PATIENCE = 60_000;

/**
 * A `fetch` that brings along where the last write was: with it, any client reads what it wrote. What the service cannot
 * answer yet is asked again as it was, and with it the key of a change.
 */
export function carrying(fetching: typeof fetch = fetch): typeof fetch {
  const name = "x-consistency-token";
  let token: string | undefined;
  return async (url, init) => {
    const headers = new Headers(init?.headers);
    if (token !== undefined) headers.set(name, token);
    for (const until = Date.now() + PATIENCE; ; await new Promise(resolve => setTimeout(resolve, 100))) {
      const answer = await fetching(url, { ...init, headers });
      token = answer.headers.get(name) ?? token;
      if (Date.now() > until || !(await isRetryable(answer.clone()))) return answer;
    }
  };
}

/** Whether each of its errors is one that may be gone in a moment, as STALE is. */
async function isRetryable(answer: Response): Promise<boolean> {
  const said: unknown = await answer.json().catch(() => undefined);
  if (typeof said !== "object" || said === null || !("errors" in said)) return false;
  const errors = said.errors as { extensions?: { retryable?: boolean } }[];
  return errors.length > 0 && errors.every(({ extensions }) => extensions?.retryable === true);
}
