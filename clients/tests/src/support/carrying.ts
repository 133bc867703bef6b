/** A `fetch` that brings along where the last write was: with it, any client reads what it wrote. */
export function carrying(): typeof fetch {
  const name = "x-consistency-token";
  let token: string | undefined;
  return async (url, init) => {
    const headers = new Headers(init?.headers);
    if (token !== undefined) headers.set(name, token);
    const answer = await fetch(url, { ...init, headers });
    token = answer.headers.get(name) ?? token;
    return answer;
  };
}
