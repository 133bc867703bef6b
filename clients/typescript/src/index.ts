export { TiffinClient, type CallOptions, type ClientOptions, type Document, type MutateOptions } from "./client.js";
export { TiffinError, type Coded } from "./errors.js";
export { newKey } from "./key.js";
export { type RetryPolicy } from "./retry.js";
export * from "./generated.js";
