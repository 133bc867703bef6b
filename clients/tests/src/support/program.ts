// The program itself, started on a store of its own and ended with the test.

import { spawn, execFileSync, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const BIN = join(resolve(ROOT, process.env["CARGO_TARGET_DIR"] ?? "target"), "debug", "tiffin");

export class Program {
  readonly folder: string;
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(folder: string, process: ChildProcess, lines: Interface) {
    this.folder = folder;
    this.#process = process;
    this.#lines = lines[Symbol.asyncIterator]();
    // Nothing that a test started is left behind it, however it ends.
    globalThis.process.once("exit", () => process.kill("SIGKILL"));
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
      if (globalThis.process.listenerCount(signal) === 0)
        globalThis.process.once(signal, () => globalThis.process.exit(1));
    }
  }

  /** Starts `tiffin ARGS` in a new folder, in which it also keeps its store. */
  static start(...args: string[]): Program {
    if (!existsSync(BIN)) throw new Error(`${BIN} is missing; run: cargo build -p tiffin`);
    const folder = mkdtempSync(join(tmpdir(), "tiffin-clients-"));
    const store = `sqlite:${join(folder, "store")}`;
    const env = { ...process.env, TIFFIN_STORE: store };
    const child = spawn(BIN, [...args, "--json", "--listen", "127.0.0.1:0"], {
      cwd: folder,
      env,
      stdio: ["ignore", "pipe", "ignore"],
    });
    return new Program(folder, child, createInterface({ input: child.stdout }));
  }

  /** The next line that it prints, which is JSON. */
  async line<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`tiffin ended (${this.#process.exitCode ?? "killed"}) before it said more`);
    return JSON.parse(value) as T;
  }

  /** What another `tiffin ARGS` beside it answers. */
  run<T>(...args: string[]): T {
    const env = { ...process.env, TIFFIN_STORE: `sqlite:${join(this.folder, "store")}` };
    return JSON.parse(execFileSync(BIN, [...args, "--json"], { cwd: this.folder, env, encoding: "utf8" })) as T;
  }

  async stop(): Promise<void> {
    const ended = new Promise(resolve => this.#process.once("exit", resolve));
    if (this.#process.exitCode === null && this.#process.kill("SIGTERM")) await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
