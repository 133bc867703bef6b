// GraphiQL, used as a person uses it: by its editors and its button.

import assert from "node:assert/strict";
import type { BrowserContext, Page } from "playwright-core";

type Editor = "query" | "headers" | "variables" | "response";

const PLACES: Record<Editor, string> = {
  query: ".graphiql-query-editor .CodeMirror",
  headers: ".graphiql-editor-tool .graphiql-editor:not(.hidden) .CodeMirror",
  variables: ".graphiql-editor-tool .graphiql-editor:not(.hidden) .CodeMirror",
  response: ".result-window .CodeMirror",
};

export class Graphiql {
  readonly page: Page;

  private constructor(page: Page) {
    this.page = page;
  }

  /** Opens its page, and says under Headers who asks. */
  static async open(context: BrowserContext, url: string, headers: string): Promise<Graphiql> {
    const page = await context.newPage();
    const answer = await page.goto(url);
    assert.equal(answer?.status(), 200);
    const graphiql = new Graphiql(page);
    await graphiql.#write("headers", headers);
    return graphiql;
  }

  /** Presses the button. */
  async send(query: string, variables = "{}"): Promise<void> {
    // What lies behind another window is drawn once in a while only.
    await this.page.bringToFront();
    await this.#write("query", query);
    await this.#write("variables", variables);
    await this.page.locator(".graphiql-execute-button").click();
  }

  /** The first answer shown that `is` takes for the one that it waits for. */
  async answer<T>(is: (data: T) => boolean): Promise<T> {
    for (const until = Date.now() + 60_000; Date.now() < until;) {
      const text = await this.text("response");
      try {
        const { data } = JSON.parse(text) as { data?: T | null };
        if (data !== undefined && data !== null && is(data)) return data;
      } catch {
        // It is still being written.
      }
      await this.page.waitForTimeout(50);
    }
    throw new Error(`not answered; the page shows: ${(await this.text("response")).slice(0, 2_000)}`);
  }

  /** What an editor holds, also what it has scrolled out of view. */
  text(editor: Editor): Promise<string> {
    return this.page
      .locator(PLACES[editor])
      .first()
      .evaluate(element => (element as unknown as { CodeMirror: { getValue(): string } }).CodeMirror.getValue());
  }

  async #write(editor: Exclude<Editor, "response">, text: string): Promise<void> {
    if (editor !== "query") await this.page.getByRole("button", { name: editor, exact: false }).first().click();
    await this.page.locator(PLACES[editor]).first().click();
    await this.page.keyboard.press("Control+A");
    await this.page.keyboard.insertText(text);
    const flat = (it: string) => it.replace(/\s+/g, " ").trim();
    let taken = "";
    for (const until = Date.now() + 30_000; Date.now() < until; await this.page.waitForTimeout(50)) {
      taken = await this.text(editor);
      if (flat(taken) === flat(text)) return;
    }
    assert.equal(flat(taken), flat(text), `${editor} took what was pasted`);
  }
}
