// A network that fails when it is told to: it stands between a client and the server and cuts connections.

import { createServer, connect, type Server, type Socket, type AddressInfo } from "node:net";

export class Flaky {
  readonly url: string;
  /** What clients have sent, a text for each chunk. */
  readonly heard: string[] = [];
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #cut: { readonly word: string; left: number } | undefined;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.url = `http://127.0.0.1:${port}/graphql`;
  }

  static async before(api: string): Promise<Flaky> {
    const { hostname, port } = new URL(api);
    const server = createServer();
    await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
    const flaky = new Flaky(server, (server.address() as AddressInfo).port);
    server.on("connection", client => flaky.#join(client, connect(Number(port), hostname)));
    return flaky;
  }

  /** Lets the next so many requests with this word through, and loses their answers. */
  loseAnswersTo(word: string, times: number): void {
    this.#cut = { word, left: times };
  }

  /** Cuts all connections that are open. */
  cut(): void {
    for (const pair of this.#pairs) pair.forEach(socket => socket.destroy());
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise(resolve => this.#server.close(resolve));
  }

  #join(client: Socket, server: Socket): void {
    const pair = [client, server] as const;
    let loses = false;
    this.#pairs.add(pair);
    client.on("data", chunk => {
      const text = chunk.toString("utf8");
      this.heard.push(text);
      if (this.#cut !== undefined && this.#cut.left > 0 && text.includes(this.#cut.word)) {
        this.#cut.left -= 1;
        loses = true;
      }
      server.write(chunk);
    });
    // An answer that begins to come was decided: the server has done what it was asked.
    server.on("data", chunk => (loses ? client.destroy() : client.write(chunk)));
    for (const [socket, other] of [pair, [server, client]] as const) {
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        other.destroy();
        this.#pairs.delete(pair);
      });
    }
  }
}
