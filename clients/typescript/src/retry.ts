// When to ask again, and when to give up.

import { TiffinError } from "./errors.js";

/** All in milliseconds. */
export interface RetryPolicy {
  /** How often one call is sent at most. A subscription counts anew with each message. */
  readonly attempts: number;
  /** Before the second attempt up to so long; before each further one up to twice as long. */
  readonly firstDelay: number;
  /** Up to so long at most. */
  readonly longestDelay: number;
  /** The longest wait that the service may ask for; beyond it the call fails with what the service said. */
  readonly patience: number;
  /** How long an attempt may take. The service answers within 15 seconds, if only to say that it took too long. */
  readonly timeout: number;
}

export const USUAL: RetryPolicy = {
  attempts: 6,
  firstDelay: 200,
  longestDelay: 5_000,
  patience: 30_000,
  timeout: 20_000,
};

/** How long to wait after attempt number `attempt` failed; undefined to give up. */
export function delay(
  policy: RetryPolicy,
  attempt: number,
  error: TiffinError,
  random = Math.random,
): number | undefined {
  const asked = error.retryAfter ?? 0;
  if (!error.retryable || attempt >= policy.attempts || asked > policy.patience) return undefined;
  // The whole span is random: clients that failed together shall not come back together.
  const span = Math.min(policy.longestDelay, policy.firstDelay * 2 ** (attempt - 1));
  return asked + random() * span;
}

/** Waits, unless the signal ends it; then it throws the signal's reason. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const end = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", end, { once: true });
  });
}

/** Calls `once` until it answers, fails for good, or has had all its attempts. */
export async function retrying<T>(
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
  once: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    signal?.throwIfAborted();
    try {
      return await once();
    } catch (error) {
      if (!(error instanceof TiffinError)) throw error;
      const wait = delay(policy, attempt, error);
      if (wait === undefined) throw error;
      await pause(wait, signal);
    }
  }
}
