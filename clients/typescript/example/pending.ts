// An order without an answer yet, kept until there is one.

import { newKey, TiffinError, type PlaceOrderInput } from "tiffin-client";

/** What was sent: it may have been carried out, so it is sent again as it was, under the same key. */
export interface Sent {
  readonly key: string;
  readonly input: PlaceOrderInput;
}

/** Where a text outlives the page. */
export interface Keep {
  get(): string | null;
  set(text: string | null): void;
}

/** For as long as the page is open. */
export function inMemory(): Keep {
  let kept: string | null = null;
  return { get: () => kept, set: text => void (kept = text) };
}

/** After these an order may have been placed all the same: by this attempt, or by one before. */
const OPEN_ENDED: ReadonlySet<string> = new Set(["NO_ANSWER", "UNAUTHENTICATED", "INTERNAL"]);

export class Pending {
  readonly #keep: Keep;

  constructor(keep: Keep) {
    this.#keep = keep;
  }

  get sent(): Sent | undefined {
    const text = this.#keep.get();
    return text === null ? undefined : (JSON.parse(text) as Sent);
  }

  /** Kept before it is sent: a page may be closed at any time. */
  begin(input: PlaceOrderInput): Sent {
    const sent = { key: newKey(), input };
    this.#keep.set(JSON.stringify(sent));
    return sent;
  }

  settled(): void {
    this.#keep.set(null);
  }

  /** Whether it failed for good: then nothing was placed, and nothing will be. */
  failed(error: unknown): void {
    const isOver = error instanceof TiffinError && !error.retryable && !OPEN_ENDED.has(error.code);
    if (isOver) this.settled();
  }
}

/** Whether two orders ask for the same dishes with the same choices, at the same prices. */
export function isSame(one: PlaceOrderInput, other: PlaceOrderInput): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
