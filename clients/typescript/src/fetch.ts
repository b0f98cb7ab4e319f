// A fetch whose requests carry a token for one tool and a proof each.

import { errorOf } from "./challenge.js";
import { OtherOrigin } from "./errors.js";
import { defaultSession, innerOf, type Inner, type Session, type Token, type Wanted } from "./session.js";

export interface FetchOptions {
  /** The tool's audience, as it is registered. */
  readonly resource: string;
  /** What is wanted of it, with a space between each; empty for all that is granted. */
  readonly scope?: string;
  /** Where the tool is, if its audience is not: tokens go to that origin alone. */
  readonly baseUrl?: string;
  /** Several may share one; without it, it is that of the process. */
  readonly session?: Session;
  /** What sends the requests; without it, the global one. */
  readonly fetch?: typeof fetch;
}

/** As the standard has it (Fetch §4.4). */
const REDIRECTS_MAX = 20;
const REDIRECTS = [301, 302, 303, 307, 308];

/**
 * A `fetch` for one tool: each request has a proof of its own, redirects too. One that is refused for its nonce, proof or
 * token is sent once more for each, where its body can be. A redirect to another origin has neither token nor proof.
 */
export function createFetch(options: FetchOptions): typeof fetch {
  const origin = originOf(options.baseUrl ?? options.resource);
  const scope = [...new Set((options.scope ?? "").split(/\s+/))].filter(Boolean).sort().join(" ");
  const wanted = { resource: options.resource, scope };
  return async (input, init) => {
    const call = new Call(innerOf(options.session ?? defaultSession()), wanted, origin, options.fetch ?? fetch);
    return call.send(new Outgoing(input, init));
  };
}

function originOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== "https:" && parsed?.protocol !== "http:") {
    throw new TypeError("baseUrl must be the tool's http or https URL, as its audience is none");
  }
  return parsed.origin;
}

/** A request, and what of it can be sent again. */
class Outgoing {
  url: URL;
  method: string;
  readonly headers: Headers;
  body: RequestInit["body"];
  readonly redirect: NonNullable<RequestInit["redirect"]>;
  readonly #init: RequestInit;

  constructor(input: string | URL | Request, init: RequestInit = {}) {
    const asked = input instanceof Request ? input : undefined;
    this.url = new URL(asked?.url ?? String(input));
    // As the standard normalises it: these and no others.
    const method = init.method ?? asked?.method ?? "GET";
    this.method = /^(delete|get|head|options|post|put)$/i.test(method) ? method.toUpperCase() : method;
    this.headers = new Headers(init.headers ?? asked?.headers);
    this.headers.delete("authorization");
    this.headers.delete("dpop");
    this.body = init.body ?? asked?.body;
    this.redirect = init.redirect ?? asked?.redirect ?? "follow";
    this.#init = { signal: asked?.signal ?? null, ...init };
  }

  /** The `htu` of its proof: as the wire has it, without query and fragment. */
  get target(): string {
    return this.url.origin + this.url.pathname;
  }

  get canRepeat(): boolean {
    const { body } = this;
    return (
      body == null ||
      typeof body === "string" ||
      body instanceof URLSearchParams ||
      body instanceof FormData ||
      body instanceof Blob ||
      body instanceof ArrayBuffer ||
      ArrayBuffer.isView(body)
    );
  }

  send(by: typeof fetch, credentials: Record<string, string>): Promise<Response> {
    const headers = new Headers(this.headers);
    for (const [name, value] of Object.entries(credentials)) headers.set(name, value);
    const { method, body } = this;
    const more = body == null ? {} : { body, duplex: "half" as const };
    return by(this.url, { ...this.#init, body: null, ...more, method, headers, redirect: "manual" });
  }

  /** Goes on to where an answer points (Fetch §4.4). */
  follow(response: Response, location: string): void {
    const next = new URL(location, this.url);
    if (next.protocol !== "https:" && next.protocol !== "http:") throw new TypeError("a redirect leads to no http URL");
    const { status } = response;
    const becomesGet = status === 303 ? !/^(GET|HEAD)$/.test(this.method) : status < 303 && this.method === "POST";
    if (becomesGet) {
      this.method = "GET";
      this.body = undefined;
      for (const name of ["content-encoding", "content-language", "content-location", "content-type"]) {
        this.headers.delete(name);
      }
    } else if (!this.canRepeat) {
      throw new TypeError("a redirect asks for the body again, and it was a stream");
    }
    if (next.origin !== this.url.origin) {
      for (const name of ["cookie", "host", "proxy-authorization"]) this.headers.delete(name);
    }
    next.hash ||= this.url.hash;
    this.url = next;
  }
}

class Call {
  readonly #inner: Inner;
  readonly #wanted: Wanted;
  readonly #origin: string;
  readonly #fetch: typeof fetch;

  constructor(inner: Inner, wanted: Wanted, origin: string, by: typeof fetch) {
    this.#inner = inner;
    this.#wanted = wanted;
    this.#origin = origin;
    this.#fetch = by;
  }

  async send(request: Outgoing): Promise<Response> {
    if (request.url.origin !== this.#origin) {
      throw new OtherOrigin(
        `tokens for ${this.#wanted.resource} go to ${this.#origin}, and never to ${request.url.origin}`,
      );
    }
    // Who was elsewhere does not come back with credentials: where to was somebody else's word (Fetch §4.4).
    let isOurs = true;
    for (let hops = 0; ; hops += 1) {
      isOurs &&= request.url.origin === this.#origin;
      const response = await (isOurs
        ? this.#signed(request)
        : request.send(this.#fetch, {}));
      const location = REDIRECTS.includes(response.status) ? response.headers.get("location") : null;
      if (location === null || request.redirect === "manual") return response;
      await response.body?.cancel();
      if (request.redirect === "error") throw new TypeError("the answer is a redirect");
      if (hops === REDIRECTS_MAX) throw new TypeError(`more than ${REDIRECTS_MAX} redirects`);
      request.follow(response, location);
    }
  }

  /** One hop and its repetitions: for each cause at most one. */
  async #signed(request: Outgoing): Promise<Response> {
    const causes = new Set<string>();
    for (;;) {
      const token = await this.#inner.token(this.#wanted);
      const nonce = this.#inner.nonces.of(this.#origin);
      const proof = await (await this.#inner.key).proof(request.method, request.target, nonce, token.text);
      const headers = { authorization: `DPoP ${token.text.expose()}`, dpop: proof };
      const response = await request.send(this.#fetch, headers);
      const cause = this.#cause(response, token);
      if (cause === undefined || causes.has(cause) || !request.canRepeat) return response;
      causes.add(cause);
      await response.body?.cancel();
    }
  }

  /** What an answer wants to be otherwise. */
  #cause(response: Response, token: Token): string | undefined {
    const isNew = this.#inner.nonces.learn(this.#origin, response.headers.get("dpop-nonce"));
    if (response.status !== 401) return undefined;
    const error = errorOf(response.headers.get("www-authenticate"));
    switch (error) {
      case "use_dpop_nonce":
        return isNew ? error : undefined;
      case "invalid_token":
        this.#inner.spoil(this.#wanted, token);
        return error;
      case "invalid_dpop_proof":
        // Perhaps for a nonce that nobody wants, or because something below sent the request twice.
        this.#inner.nonces.forget(this.#origin);
        return error;
      default:
        return undefined;
    }
  }
}
