// When the page is drawn.

/** A press that nobody ends holds the page up for no longer than this, in milliseconds. */
const LONGEST_PRESS = 2_000;

/**
 * Draws soon after something changed, but not between a press and its click: what was pressed would be gone, and a browser
 * gives no click to what is gone.
 */
export class Drawing {
  readonly #draw: () => void;
  #frame = 0;
  #press: ReturnType<typeof setTimeout> | undefined;
  #missed = false;

  constructor(draw: () => void) {
    this.#draw = draw;
    const isPress = (event: Event) => !(event instanceof KeyboardEvent) || (event.key === " " && !event.repeat);
    for (const [name, longest] of [
      ["pointerdown", LONGEST_PRESS],
      ["keydown", LONGEST_PRESS],
      // The click comes right after these.
      ["pointerup", 0],
      ["pointercancel", 0],
      ["keyup", 0],
    ] as const)
      document.addEventListener(name, event => isPress(event) && this.#hold(longest), { capture: true });
  }

  /** Several changes at once are one drawing. */
  soon(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#press === undefined) this.#draw();
      else this.#missed = true;
    });
  }

  #hold(longest: number): void {
    clearTimeout(this.#press);
    this.#press = setTimeout(() => {
      this.#press = undefined;
      if (!this.#missed) return;
      this.#missed = false;
      this.#draw();
    }, longest);
  }
}
