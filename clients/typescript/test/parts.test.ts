// What needs no daemon: challenges, nonces, what is shown, and answers that no daemon gives.

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspect } from "node:util";
import { createFetch, OtherOrigin, Refused, Session, Unavailable } from "../src/index.js";
import { errorOf } from "../src/challenge.js";
import { BODY_BYTES_MAX, findSocket } from "../src/daemon.js";
import { Key } from "../src/key.js";
import { NONCE_AGE_MAX, Nonces, SERVERS_MAX } from "../src/nonces.js";
import { Secret } from "../src/secret.js";
import { innerOf } from "../src/session.js";

const folder = mkdtempSync(join(tmpdir(), "df-"));
after(() => {
  rmSync(folder, { recursive: true });
});

type Json = Record<string, unknown>;
const decoded = (proof: string, part: number): Json =>
  JSON.parse(Buffer.from(proof.split(".")[part] ?? "", "base64url").toString()) as Json;

const CHALLENGES: [string, string | undefined][] = [
  ['DPoP error="use_dpop_nonce", algs="ES256"', "use_dpop_nonce"],
  ['Bearer error="x", DPoP algs="ES256, EdDSA", error=invalid_token', "invalid_token"],
  ['Bearer error="invalid_request", dpop realm="a, DPoP error=\\"b\\"", Error = "c"', "c"],
  ['DPoP algs="ES256"', undefined],
  ['Bearer realm="DPoP error=\\"invalid_token\\""', undefined],
  ["Negotiate abc==, DPoP error=invalid_token", "invalid_token"],
  ['DPoP error="', undefined],
  [",,,", undefined],
  ["", undefined],
];

test("the DPoP challenge is found", () => {
  for (const [value, expected] of CHALLENGES) assert.equal(errorOf(value), expected, value);
});

test("a nonce is its server's alone, and not for long", () => {
  let now = 0;
  const nonces = new Nonces(() => now);
  assert.ok(nonces.learn("https://a", "n1"));
  assert.deepEqual([nonces.of("https://a"), nonces.of("https://b")], ["n1", undefined]);
  for (const odd of [null, undefined, "", 'a"b', "a\nb", "é", "x".repeat(513)]) assert.ok(!nonces.learn("https://a", odd));
  now = NONCE_AGE_MAX - 1;
  assert.equal(nonces.of("https://a"), "n1");
  now = NONCE_AGE_MAX;
  assert.equal(nonces.of("https://a"), undefined);
  for (let each = 0; each <= SERVERS_MAX; each += 1) nonces.learn(`https://${each}`, "n");
  assert.deepEqual([nonces.of("https://0"), nonces.of("https://1")], [undefined, "n"]);
});

test("a proof is for its request, and its key cannot be had", async () => {
  const key = await Key.make();
  const token = new Secret("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
  const proof = await key.proof("GET", "https://a/x", "n", token);
  const header = decoded(proof, 0) as { typ: string; alg: string; jwk: Record<string, string> };
  assert.deepEqual([header.typ, header.alg, Object.keys(header.jwk)], ["dpop+jwt", "ES256", ["crv", "kty", "x", "y"]]);
  const claims = decoded(proof, 1);
  // RFC 9449 §7.1, Figure 13.
  assert.equal(claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
  assert.deepEqual([claims["htm"], claims["htu"], claims["nonce"]], ["GET", "https://a/x", "n"]);
  assert.notEqual(decoded(await key.proof("GET", "https://a/x"), 1)["jti"], claims["jti"]);
  const [signed, signature] = [proof.slice(0, proof.lastIndexOf(".")), proof.slice(proof.lastIndexOf(".") + 1)];
  const publicKey = { key: createPublicKey({ key: header.jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" } as const;
  assert.ok(verify("sha256", Buffer.from(signed), publicKey, Buffer.from(signature, "base64url")));
  assert.deepEqual(Object.keys(key), ["thumbprint"]);
});

test("secrets are not shown", () => {
  const secret = new Secret("hidden");
  const session = new Session({ socket: "/nowhere" });
  const shown = [secret, session, innerOf(session), { token: secret }].map(
    (each) => `${inspect(each, { depth: 9, showHidden: true })} ${JSON.stringify(each)} ${String(each)}`,
  );
  assert.ok(!shown.join().includes("hidden") && shown.join().includes("Secret(..)"));
  assert.deepEqual(structuredClone(session), {});
});

test("an audience that is no URL needs a base URL", () => {
  assert.throws(() => createFetch({ resource: "urn:example:tickets" }), /baseUrl/);
  createFetch({ resource: "urn:example:tickets", baseUrl: "https://T.example:443/api" });
});

test("a request to another origin is an error", async () => {
  const tickets = createFetch({ resource: "https://a.example", session: new Session({ socket: "/nowhere" }) });
  for (const url of ["https://b.example/", "http://a.example/", "https://a.example:8443/"]) {
    await assert.rejects(tickets(url), OtherOrigin);
  }
});

test("the socket is found as the daemon has it", async () => {
  const env = { XDG_RUNTIME_DIR: "relative", HOME: folder };
  assert.equal(findSocket(undefined, env, 0), "/run/dayfly/http.sock");
  const own = join(folder, ".local/state/dayfly/run/http.sock");
  assert.ok([own, "/run/dayfly/http.sock"].includes(findSocket(undefined, env, 1000)));
  assert.equal(findSocket(undefined, { ...env, DAYFLY_HOME: "/h" }, 1000), "/h/http.sock");
  assert.equal(findSocket(undefined, { ...env, DAYFLY_HOME: "/h", DAYFLY_HTTP_SOCKET: "/s" }, 1000), "/s");
  assert.equal(findSocket("/given", { DAYFLY_HTTP_SOCKET: "/s" }, 0), "/given");
});

const METADATA = { token_endpoint: "https://example.org/oauth/token" };
const GOOD = { access_token: "a.b.c", token_type: "DPoP", expires_in: 60, scope: "read" };

const http = (document: unknown, status = 200, more = ""): string => {
  const body = typeof document === "string" ? document : JSON.stringify(document);
  return `HTTP/1.1 ${status} X\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n${more}\r\n${body}`;
};

/** Somebody at a socket who is no daemon, and answers in turn; nothing where there is no answer. */
async function odd(answers: (string | undefined)[], use: (session: Session, asked: () => number) => Promise<void>) {
  const socket = join(folder, "odd.sock");
  let asked = 0;
  const server: Server = createServer((connection) => {
    const answer = answers[asked];
    asked += 1;
    connection.on("error", () => undefined);
    connection.once("data", () => answer !== undefined && connection.end(answer));
  });
  const held = new Set<{ destroy(): void }>();
  server.on("connection", (connection) => held.add(connection));
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  try {
    await use(new Session({ socket, timeout: 300 }), () => asked);
  } finally {
    for (const connection of held) connection.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

const NO_DAEMONS: [(string | undefined)[], RegExp][] = [
  [["220 smtp\r\n"], /does not answer/],
  [[http("hello")], /no token endpoint/],
  [[http([])], /no token endpoint/],
  [[http(METADATA), http({ ...GOOD, token_type: "Bearer" })], /bound to no key/],
  [[http(METADATA), http({ ...GOOD, access_token: "a b\r\nc" })], /no token that can be used/],
  [[http(METADATA), http({ ...GOOD, access_token: "a".repeat(9000) })], /no token that can be used/],
  [[http(METADATA), http({ ...GOOD, expires_in: true })], /no token that can be used/],
  [[http(METADATA), http({ ...GOOD, expires_in: 1e9 })], /no token that can be used/],
  [[http(METADATA), http({ ...GOOD, more: "x".repeat(BODY_BYTES_MAX) })], /more than 65536 bytes/],
  [[http(METADATA), http({ error: "a\nb" }, 400)], /said 400 and not why/],
  [[undefined], /does not answer.*not within 300 ms/],
];

test("who is no daemon is named", async () => {
  for (const [answers, words] of NO_DAEMONS) {
    await odd(answers, async (session) => {
      const tickets = createFetch({ resource: "https://a.example", session });
      await assert.rejects(tickets("https://a.example/x"), (error: unknown) => {
        assert.ok(error instanceof Unavailable, String(error));
        assert.match(error.message, words);
        assert.ok(!inspect(error, { depth: 9 }).includes("a.b.c") && error.message.includes(folder));
        return true;
      });
    });
  }
});

test("what a daemon says of a refusal is told on one line", async () => {
  const refusal = { error: "slow_down", error_description: `later\n\u001b[31m${"x".repeat(5000)}` };
  await odd([http(METADATA), http(refusal, 429, "retry-after: 7\r\n")], async (session) => {
    const tickets = createFetch({ resource: "https://a.example", session });
    await assert.rejects(tickets("https://a.example/x"), (error: unknown) => {
      assert.ok(error instanceof Refused);
      assert.deepEqual([error.error, error.status, error.retryAfter], ["slow_down", 429, 7]);
      assert.ok(!/\p{C}/u.test(error.message) && error.message.length < 1200);
      return true;
    });
  });
});

test("who waits for an attempt that fails has its answer", async () => {
  await odd([undefined], async (session, asked) => {
    const tickets = createFetch({ resource: "https://a.example", session });
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => tickets("https://a.example/x")));
    assert.ok(all.every((each) => each.status === "rejected" && each.reason instanceof Unavailable));
    assert.equal(asked(), 1);
  });
});
