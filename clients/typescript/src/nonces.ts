// The nonces that servers asked for (RFC 9449 §8), each for its server alone.
//
// One that a server has not given again for NONCE_AGE_MAX is dropped: the server may no longer want any, and some refuse
// a proof with a nonce that they did not ask for. Where it does, that costs one more question.

/** How long a nonce is used, in milliseconds. */
export const NONCE_AGE_MAX = 120_000;
/** Of how many servers nonces are kept; the one that gave none for longest goes first. */
export const SERVERS_MAX = 256;

// RFC 9449 §8.1; a longer one is no nonce of anybody.
const NONCE = /^[\x21\x23-\x5b\x5d-\x7e]{1,512}$/;

/** Nonces by server. */
export class Nonces {
  readonly #known = new Map<string, { nonce: string; until: number }>();
  readonly #clock: () => number;

  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
  }

  /** What a proof for this server must carry now. */
  of(server: string): string | undefined {
    const known = this.#known.get(server);
    if (known === undefined) return undefined;
    if (this.#clock() < known.until) return known.nonce;
    this.#known.delete(server);
    return undefined;
  }

  /** Takes what an answer's `DPoP-Nonce` says; whether it is a nonce. */
  learn(server: string, nonce: string | null | undefined): boolean {
    if (nonce == null || !NONCE.test(nonce)) return false;
    this.#known.delete(server);
    this.#known.set(server, { nonce, until: this.#clock() + NONCE_AGE_MAX });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= SERVERS_MAX) break;
      this.#known.delete(oldest);
    }
    return true;
  }

  /** Drops a nonce that was refused; whether there was one. */
  forget(server: string): boolean {
    return this.#known.delete(server);
  }
}
