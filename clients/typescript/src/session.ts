// A session: one key, the tokens that are bound to it, the nonces that servers asked for.

import { inspect } from "node:util";
import { Daemon, findSocket } from "./daemon.js";
import { Key } from "./key.js";
import { Nonces } from "./nonces.js";
import type { Secret } from "./secret.js";

/** How many tokens a session keeps; the one that was not used for longest goes first. */
export const TOKENS_MAX = 256;
/** After a renewal that failed while the token is still good, the next comes so many milliseconds later. */
const AGAIN_AFTER = 1_000;
/** So long before its end a token is no longer sent, at most, in milliseconds; of a short life a tenth. */
const MARGIN_MAX = 10_000;

/** What a token is for. */
export interface Wanted {
  /** The tool's audience. */
  readonly resource: string;
  /** Scopes with a space between each; empty for all that is granted. */
  readonly scope: string;
}

/** An access token. */
export interface Token {
  readonly text: Secret;
  readonly scope: string;
  /** From then on it is renewed, and still good. */
  readonly renewAt: number;
  readonly goodUntil: number;
}

/** Where one token is kept. */
interface Place {
  token?: Token | undefined;
  /** The attempt that is under way, for everybody who waits for it. */
  attempt?: Promise<Token> | undefined;
  /** Not renewed before, while the token is good. */
  againAt: number;
}

export interface SessionOptions {
  /** The daemon's `http.sock`; without it `DAYFLY_HTTP_SOCKET`, then `DAYFLY_HOME`, then the usual places. */
  readonly socket?: string;
  /** One of this process's agents; without it, that of the oldest entry. */
  readonly agent?: string;
  /** How long the daemon may take for one step, in milliseconds. */
  readonly timeout?: number;
}

/** What the rest of this package sees of a session; nobody else does. */
export interface Inner {
  readonly key: Promise<Key>;
  readonly nonces: Nonces;
  token(wanted: Wanted): Promise<Token>;
  spoil(wanted: Wanted, token: Token): void;
}

let innerOf: (session: Session) => Inner;

/** One key in memory, and what is bound to it. A copy of one, or what is sent to a worker, has nothing in it. */
export class Session {
  static {
    innerOf = (session) => session.#inner;
  }

  readonly #inner: Keeper;

  constructor(options: SessionOptions = {}) {
    this.#inner = new Keeper(new Daemon(findSocket(options.socket), options.timeout ?? 10_000), options.agent);
  }

  /** The key's thumbprint (RFC 7638), which is the `cnf.jkt` of its tokens. */
  async thumbprint(): Promise<string> {
    return (await this.#inner.key).thumbprint;
  }

  [inspect.custom](): string {
    return `Session(socket=${JSON.stringify(this.#inner.path)})`;
  }
}

export { innerOf };

class Keeper implements Inner {
  readonly key = Key.make();
  readonly nonces = new Nonces();
  readonly #daemon: Daemon;
  readonly #agent: string | undefined;
  readonly #places = new Map<string, Place>();

  constructor(daemon: Daemon, agent: string | undefined) {
    this.#daemon = daemon;
    this.#agent = agent;
    // Whoever uses it is told.
    this.key.catch(() => undefined);
  }

  get path(): string {
    return this.#daemon.path;
  }

  /** A good token. Of several callers one asks the daemon; the others wait, or take the old one while it is good. */
  async token(wanted: Wanted): Promise<Token> {
    const place = this.#place(wanted);
    const now = Date.now();
    const { token } = place;
    if (token !== undefined && now < token.renewAt) return token;
    if (token === undefined || now >= token.goodUntil) return this.#attempt(wanted, place);
    if (place.attempt !== undefined || now < place.againAt) return token;
    try {
      return await this.#attempt(wanted, place);
    } catch (error) {
      place.againAt = Date.now() + AGAIN_AFTER;
      if (Date.now() < token.goodUntil) return token;
      throw error;
    }
  }

  spoil(wanted: Wanted, token: Token): void {
    const place = this.#place(wanted);
    if (place.token === token) place.token = undefined;
  }

  #place(wanted: Wanted): Place {
    const name = JSON.stringify([wanted.resource, wanted.scope]);
    const place = this.#places.get(name) ?? { againAt: 0 };
    this.#places.delete(name);
    this.#places.set(name, place);
    for (const oldest of this.#places.keys()) {
      if (this.#places.size <= TOKENS_MAX) break;
      this.#places.delete(oldest);
    }
    return place;
  }

  #attempt(wanted: Wanted, place: Place): Promise<Token> {
    place.attempt ??= this.#renew(wanted, place).finally(() => {
      place.attempt = undefined;
    });
    return place.attempt;
  }

  async #renew(wanted: Wanted, place: Place): Promise<Token> {
    const asked = Date.now();
    const named = { resource: wanted.resource, scope: wanted.scope, client_id: this.#agent ?? "" };
    const form = Object.fromEntries(Object.entries(named).filter(([, value]) => value !== ""));
    const { text, lifetime, scope } = await this.#daemon.issue(await this.key, this.nonces, form);
    // Its end is a whole second, up to one before the lifetime is over.
    const sure = Math.max(lifetime - 1, lifetime / 4) * 1000;
    const goodUntil = asked + sure - Math.min(MARGIN_MAX, sure / 10);
    place.token = { text, scope, renewAt: asked + (sure * 3) / 4, goodUntil };
    return place.token;
  }
}

let shared: Session | undefined;

/** The session of this process, for whoever names none. */
export function defaultSession(): Session {
  shared ??= new Session();
  return shared;
}
