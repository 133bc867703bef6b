// A service that says what it is told to over `graphql-transport-ws`, for what a real one says once in a blue moon.

import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";

/** The type of a message and its payload, or the code with which the socket is closed. */
export type Line = readonly ["next" | "error", unknown] | readonly ["close", number];

interface Heard {
  readonly type: string;
  readonly id: string;
  readonly payload?: { readonly variables?: { readonly after?: string }; readonly authorization?: string };
}

export class Scripted {
  readonly url: string;
  /** The cursor that each subscription went on from. */
  readonly afters: (string | undefined)[] = [];
  /** Who opened each socket. */
  readonly bearers: (string | undefined)[] = [];
  readonly #server: WebSocketServer;
  readonly #lines: Line[];
  /** How long it takes before it closes a socket, in milliseconds. */
  readonly #lasting: number;

  private constructor(server: WebSocketServer, lines: readonly Line[], lasting: number) {
    this.#server = server;
    this.#lasting = lasting;
    this.#lines = [...lines];
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`;
    server.on("connection", socket => {
      socket.on("message", text => this.#hear(socket, JSON.parse(String(text as Buffer)) as Heard));
    });
  }

  static async start(lines: readonly Line[], lasting = 0): Promise<Scripted> {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    await new Promise(resolve => server.once("listening", resolve));
    return new Scripted(server, lines, lasting);
  }

  async stop(): Promise<void> {
    this.#server.clients.forEach(socket => socket.terminate());
    await new Promise(resolve => this.#server.close(resolve));
  }

  /** Answers a subscription with the lines up to the next end. */
  #hear(socket: WebSocket, { type, id, payload }: Heard): void {
    if (type === "connection_init") {
      this.bearers.push(payload?.authorization);
      socket.send(JSON.stringify({ type: "connection_ack" }));
    }
    if (type !== "subscribe") return;
    this.afters.push(payload?.variables?.after);
    for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
      if (line[0] === "close") {
        const [, code] = line;
        return void setTimeout(() => socket.close(code, "as told"), this.#lasting);
      }
      socket.send(JSON.stringify({ id, type: line[0], payload: line[1] }));
      if (line[0] === "error") return;
    }
  }
}
