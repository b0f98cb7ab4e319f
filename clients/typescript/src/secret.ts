// A text that is shown nowhere by accident.

import { inspect } from "node:util";

/** Holds a text. Printing, formatting and serialising do not show it. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text. Each call is a place to review. */
  expose(): string {
    return this.#text;
  }

  toString(): string {
    return "Secret(..)";
  }

  toJSON(): string {
    return "Secret(..)";
  }

  [inspect.custom](): string {
    return "Secret(..)";
  }
}
