// The daemon's token endpoint: HTTP/1.1 over a Unix socket.

import { lstatSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { DayflyError, Refused, Unavailable } from "./errors.js";
import type { Key } from "./key.js";
import type { Nonces } from "./nonces.js";
import { Secret } from "./secret.js";

const METADATA = "/.well-known/oauth-authorization-server";

/** The longest answer that is read. */
export const BODY_BYTES_MAX = 64 * 1024;
const TOKEN_BYTES_MAX = 8 * 1024;
/** Longer than any token lives, in seconds. */
const LIFETIME_MAX = 24 * 3600;

const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;
const ERROR = /^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}$/;

/** What was issued. */
export interface Issued {
  readonly text: Secret;
  /** In seconds. */
  readonly lifetime: number;
  readonly scope: string;
}

/**
 * Where the daemon's `http.sock` is: what is given, `DAYFLY_HTTP_SOCKET`, `DAYFLY_HOME`, else that of one's own daemon if
 * it is there, else the system's.
 */
export function findSocket(given?: string, env = process.env, uid = process.geteuid?.()): string {
  const named = given ?? env["DAYFLY_HTTP_SOCKET"];
  if (named) return named;
  if (env["DAYFLY_HOME"]) return join(env["DAYFLY_HOME"], "http.sock");
  const system = "/run/dayfly/http.sock";
  if (uid === 0) return system;
  const own = join(folderOfOwn(env), "http.sock");
  return isSocket(own) || !isSocket(system) ? own : system;
}

/** Of an ordinary user's daemon, as the daemon itself chooses it. */
function folderOfOwn(env: NodeJS.ProcessEnv): string {
  const xdg = (name: string): string | undefined => (env[name]?.startsWith("/") ? env[name] : undefined);
  const run = xdg("XDG_RUNTIME_DIR");
  if (run !== undefined) return join(run, "dayfly");
  return join(xdg("XDG_STATE_HOME") ?? join(env["HOME"] ?? "/nonexistent", ".local/state"), "dayfly/run");
}

function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}

interface Answer {
  readonly status: number;
  readonly nonce: string | undefined;
  readonly retryAfter: number | undefined;
  readonly document: Record<string, unknown>;
}

const text = (answer: Answer, name: string): string => {
  const value = answer.document[name];
  return typeof value === "string" ? value : "";
};

/** One daemon, by its socket. */
export class Daemon {
  readonly path: string;
  readonly #timeout: number;

  /** `timeout` is how long it may take for one step, in milliseconds. */
  constructor(path: string, timeout: number) {
    this.path = path;
    this.#timeout = timeout;
  }

  /** A token that is bound to the key. Throws `Refused` and `Unavailable`. */
  async issue(key: Key, nonces: Nonces, form: Record<string, string>): Promise<Issued> {
    // The daemon may be another one than last time, so it is asked each time what proofs are for.
    const url = text(await this.#ask("GET", METADATA), "token_endpoint");
    if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw new Unavailable(`what answers at ${this.path} is no token endpoint`);
    }
    const body = new URLSearchParams({ grant_type: "client_credentials", ...form }).toString();
    // Its nonces are its own, and no resource's.
    const server = `token endpoint ${url}`;
    for (let last = false; ; last = true) {
      const proof = await key.proof("POST", url, nonces.of(server));
      const answer = await this.#ask("POST", new URL(url).pathname, body, proof);
      const isNew = nonces.learn(server, answer.nonce);
      if (answer.status === 200) return this.#token(answer);
      const error = text(answer, "error");
      const again =
        (error === "use_dpop_nonce" && isNew) || (error === "invalid_dpop_proof" && nonces.forget(server));
      if (last || !again) throw this.#refusal(answer, error);
    }
  }

  async #ask(method: string, path: string, body?: string, proof?: string): Promise<Answer> {
    try {
      return await exchange(this.path, this.#timeout, method, path, body, proof);
    } catch (error) {
      if (error instanceof DayflyError) throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new Unavailable(
        `the Dayfly daemon does not answer at ${this.path}: ${why}; is it running (\`dayfly status\`)? ` +
          "Another socket is named by the option `socket` or DAYFLY_HTTP_SOCKET",
      );
    }
  }

  #token(answer: Answer): Issued {
    const token = text(answer, "access_token");
    const lifetime = answer.document["expires_in"];
    // RFC 9449 §5: a token that is not bound is not for us.
    if (text(answer, "token_type").toLowerCase() !== "dpop") {
      throw new Unavailable(`what answers at ${this.path} gave a token that is bound to no key`);
    }
    const isLifetime = Number.isInteger(lifetime) && Number(lifetime) > 0 && Number(lifetime) <= LIFETIME_MAX;
    if (token.length > TOKEN_BYTES_MAX || !TOKEN.test(token) || !isLifetime) {
      throw new Unavailable(`what answers at ${this.path} gave no token that can be used`);
    }
    return { text: new Secret(token), lifetime: Number(lifetime), scope: text(answer, "scope") };
  }

  #refusal(answer: Answer, error: string): DayflyError {
    if (!ERROR.test(error)) {
      return new Unavailable(`what answers at ${this.path} said ${answer.status} and not why`);
    }
    const words = text(answer, "error_description").slice(0, 1024).replace(/\p{C}/gu, " ");
    return new Refused(error, words, answer.status, answer.retryAfter);
  }
}

function exchange(
  socketPath: string,
  timeout: number,
  method: string,
  path: string,
  body = "",
  proof?: string,
): Promise<Answer> {
  const form = { "content-type": "application/x-www-form-urlencoded", "content-length": Buffer.byteLength(body) };
  const headers = { host: "localhost", ...(proof === undefined ? {} : { ...form, dpop: proof }) };
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeout);
    const asked = request({ socketPath, method, path, headers, agent: false, signal }, (response) => {
      read(response).then(resolve, reject);
    });
    asked.on("error", (error) => {
      reject(signal.aborted ? new Error(`not within ${timeout} ms`) : error);
    });
    asked.end(body);
  });
}

async function read(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new Error(`its answer has more than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  const after = response.headers["retry-after"] ?? "";
  const nonce = response.headers["dpop-nonce"];
  return {
    status: response.statusCode ?? 0,
    nonce: typeof nonce === "string" ? nonce : undefined,
    retryAfter: /^[0-9]{1,7}$/.test(after) ? Number(after) : undefined,
    document: document(Buffer.concat(chunks).toString()),
  };
}

// The error of a reader has a part of the body in it, so that it does not leave this function.
function document(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
