// The stage of ../../stage.py, which starts the real daemon and nginx.

import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A running stage. */
export class Stage {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly origin: string;
  readonly other: string;
  readonly socket: string;
  readonly bundle: string;
  readonly home: string;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, places: Record<string, string>) {
    this.#child = child;
    this.#lines = lines;
    const place = (name: string): string => {
      const value = places[name];
      if (value === undefined) throw new Error(`the stage says no ${name}`);
      return value;
    };
    [this.origin, this.other, this.socket] = [place("origin"), place("other"), place("socket")];
    [this.bundle, this.home] = [place("bundle"), place("home")];
  }

  /** A stage, or why there is none here. */
  static async start(): Promise<Stage | string> {
    const script = fileURLToPath(new URL("../../../stage.py", import.meta.url));
    const child = spawn("python3", [script], { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const first = JSON.parse((await lines.next()).value ?? "{}") as Record<string, string>;
    return first["absent"] ?? new Stage(child, lines, first);
  }

  /** Does what the words say; answers what was said. */
  async do(...words: string[]): Promise<string> {
    this.#child.stdin?.write(`${JSON.stringify(words)}\n`);
    const answer = JSON.parse((await this.#lines.next()).value ?? "{}") as { said?: string; failed?: string };
    if (answer.said === undefined) throw new Error(answer.failed ?? "the stage is gone");
    return answer.said;
  }

  async restart(how: "stop" | "kill"): Promise<void> {
    await this.do(how);
    await this.do("start");
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.on("exit", resolve));
    this.#child.stdin?.end();
    await ended;
  }
}
