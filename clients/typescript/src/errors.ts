// What can go wrong, as one class: the service's coded errors, and answers that did not come.

/** An error of the service, or one of the client's own codes: see {@link TiffinError.code}. */
export interface Coded {
  readonly message: string;
  readonly path?: readonly (string | number)[] | undefined;
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
}

interface Details {
  readonly retryable: boolean;
  readonly field?: string | undefined;
  readonly retryAfter?: number | undefined;
  readonly errors?: readonly Coded[] | undefined;
  readonly data?: unknown;
  readonly cause?: unknown;
}

export class TiffinError extends Error {
  override readonly name = "TiffinError";
  /**
   * The service's code, such as `NOT_FOUND` or `CURSOR_EXPIRED`; `NO_ANSWER` when none came, or one that is not
   * GraphQL's; `SOCKET_CLOSED` when a subscription's socket ended.
   */
  readonly code: string;
  /** Whether the same request, under the same key, may succeed a moment later. */
  readonly retryable: boolean;
  /** The argument, or the field within it, that was wrong. */
  readonly field: string | undefined;
  /** How long to wait before it is asked again, in milliseconds. */
  readonly retryAfter: number | undefined;
  /** All that the answer says, where there was one. */
  readonly errors: readonly Coded[];
  /** What was answered beside the errors, if anything was. */
  readonly data: unknown;

  constructor(code: string, message: string, details: Details) {
    super(message, { cause: details.cause });
    this.code = code;
    this.retryable = details.retryable;
    this.field = details.field;
    this.retryAfter = details.retryAfter;
    this.errors = details.errors ?? [];
    this.data = details.data;
  }

  /** Of an answer's errors, of which the first speaks. It may be repeated only if each of them may. */
  static of(errors: readonly Coded[], data?: unknown, retryAfter?: number): TiffinError {
    const [first] = errors;
    const { code, field, retryAfter: seconds } = first?.extensions ?? {};
    return new TiffinError(typeof code === "string" ? code : "INTERNAL", first?.message ?? "the service failed", {
      retryable: errors.length > 0 && errors.every(error => error.extensions?.["retryable"] === true),
      field: typeof field === "string" ? field : undefined,
      retryAfter: typeof seconds === "number" ? seconds * 1000 : retryAfter,
      errors,
      data,
    });
  }

  /** No answer came, or one that is none of the service's. */
  static noAnswer(message: string, cause?: unknown, retryAfter?: number): TiffinError {
    return new TiffinError("NO_ANSWER", message, { retryable: true, cause, retryAfter });
  }
}
