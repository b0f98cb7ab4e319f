// Calls of a tool behind the real nginx, with tokens of the real daemon.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { Agent } from "undici";
import { createFetch, OtherOrigin, Refused, Session, Unavailable, type DayflyError } from "../src/index.js";
import { Key } from "../src/key.js";
import { Secret } from "../src/secret.js";
import { innerOf } from "../src/session.js";
import { Stage } from "./stage.js";

// How each token, and each proof of this package, begins.
const TOKEN = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6";
const PROOF = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2Iiwiandr";
const HOME = fileURLToPath(new URL("../../", import.meta.url));

const started = await Stage.start();

describe("with the real daemon", { skip: typeof started === "string" ? started : false }, () => {
  const stage = started as Stage;
  let trusting: Agent;
  let statuses: number[] = [];
  const tokens = new Set<string | null>();

  before(() => {
    trusting = new Agent({ connect: { ca: readFileSync(stage.bundle) } });
  });
  after(async () => {
    await trusting.close();
    await stage.close();
  });

  /** The built-in fetch, which trusts the daemon's authority, and remembers what was sent and answered. */
  const plain: typeof fetch = async (input, init) => {
    const answer = await fetch(input, { ...init, dispatcher: trusting } as unknown as RequestInit);
    statuses.push(answer.status);
    tokens.add(new Headers(init?.headers).get("authorization"));
    return answer;
  };
  const open = (session: Session, scope = "read"): typeof fetch => {
    const below = createFetch({ resource: stage.origin, scope, session, fetch: plain });
    return (input, init) => below(typeof input === "string" && !input.includes(":") ? stage.origin + input : input, init);
  };
  const fresh = (): Session => new Session({ socket: stage.socket });
  const limit = (ttl: string): Promise<string> =>
    stage.do("dayfly", "grant", "update", "reporter/tickets", "--ttl-max", ttl);
  const wanted = { resource: stage.origin, scope: "read" };

  test("what the README says works", () => {
    const found = /```js\n([^]*?)```/.exec(readFileSync(join(HOME, "README.md"), "utf8"));
    assert.ok(found?.[1]);
    const folder = mkdtempSync(join(tmpdir(), "df-"));
    try {
      // As npm installs it.
      mkdirSync(join(folder, "node_modules"));
      symlinkSync(HOME, join(folder, "node_modules/dayfly"), "dir");
      writeFileSync(join(folder, "example.mjs"), found[1].replaceAll("https://tickets.example.org", stage.origin));
      const env = { ...process.env, NODE_OPTIONS: "", NODE_EXTRA_CA_CERTS: stage.bundle, DAYFLY_HOME: stage.home };
      const done = spawnSync(process.execPath, [join(folder, "example.mjs")], { env, encoding: "utf8" });
      assert.ok(done.stdout.startsWith("reporter: read GET /api/items/7"), done.stderr);
      // Nothing else is said, and nothing written.
      assert.deepEqual([done.stdout.trim().split("\n").length, done.stderr], [1, ""]);
      assert.deepEqual(readdirSync(folder).sort(), ["example.mjs", "node_modules"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a thousand calls through renewals", async () => {
    await limit("2s");
    try {
      const tickets = open(fresh());
      statuses = [];
      tokens.clear();
      const until = Date.now() + 4000;
      for (let each = 0; each < 1000 || Date.now() < until; each += 1) {
        const answer = await tickets(`/api/items/${each}`);
        assert.equal(await answer.text(), `reporter: read GET /api/items/${each}\n`);
      }
      // Renewed in time, not when the door said so. The first may have been asked for a nonce.
      assert.ok(statuses.filter((status) => status !== 200).length <= 1, String(statuses.filter((s) => s !== 200)));
      assert.ok(statuses.length >= 1000 && tokens.size >= 2);
    } finally {
      await limit("15m");
    }
  });

  test("a restarted daemon asks for a nonce and gets it", async () => {
    const tickets = open(fresh());
    assert.equal((await tickets("/api/items/7")).status, 200);
    for (const how of ["stop", "kill"] as const) {
      await stage.restart(how);
      for (let each = 0; each < 3; each += 1) assert.equal((await tickets("/api/items/7")).status, 200);
      assert.equal((await tickets("/api/search", { method: "POST", body: "what" })).status, 200);
    }
    assert.ok(statuses.includes(401));
  });

  test("a body that is a stream is not sent twice", async () => {
    await stage.restart("stop");
    const tickets = open(fresh());
    const body = (): RequestInit => ({ method: "POST", body: new Blob(["what"]).stream(), duplex: "half" });
    // What the answer said is known to the next.
    assert.equal((await tickets("/api/search", body())).status, 401);
    assert.equal((await tickets(new Request(`${stage.origin}/api/search`, body()))).status, 200);
  });

  test("a scope that was not granted is refused with the reason", async () => {
    const post = { method: "post", body: "x" };
    await assert.rejects(open(fresh(), "write")("/api/items", post), (error: unknown) => {
      assert.ok(error instanceof Refused && error.errorDescription);
      assert.equal(error.error, "invalid_scope");
      return true;
    });
    assert.equal((await open(fresh())("/api/items", post)).status, 403);
    const nobody = createFetch({ resource: "https://nobody.example", baseUrl: stage.origin, session: fresh() });
    await assert.rejects(nobody(`${stage.origin}/api/items/7`), /invalid_target/);
  });

  test("a suspended agent is refused, also with a token", async () => {
    const tickets = open(fresh());
    assert.equal((await tickets("/api/items/7")).status, 200);
    await stage.do("dayfly", "agent", "suspend", "reporter");
    try {
      await assert.rejects(tickets("/api/items/7"), /unauthorized_client/);
    } finally {
      await stage.do("dayfly", "agent", "resume", "reporter");
    }
    assert.equal((await tickets("/api/items/7")).status, 200);
  });

  test("without a daemon nothing passes, and the error says so", async () => {
    const [tickets, later] = [open(fresh()), open(fresh())];
    assert.equal((await tickets("/api/items/7")).status, 200);
    await stage.do("stop");
    try {
      assert.ok((await tickets("/api/items/7")).status >= 400);
      await assert.rejects(later("/api/items/7"), (error: unknown) => {
        assert.ok(error instanceof Unavailable);
        assert.ok(error.message.includes(`does not answer at ${stage.socket}`) && error.message.includes("is it running"));
        return true;
      });
    } finally {
      await stage.do("start");
    }
    for (const each of [tickets, later]) assert.equal((await each("/api/items/7")).status, 200);
  });

  test("a token that is still good is used while the daemon is away", async () => {
    await limit("4s");
    try {
      const inner = innerOf(fresh());
      const token = await inner.token(wanted);
      await stage.do("stop");
      await new Promise((resolve) => setTimeout(resolve, token.renewAt - Date.now() + 50));
      assert.equal(await inner.token(wanted), token);
      await new Promise((resolve) => setTimeout(resolve, token.goodUntil - Date.now() + 50));
      await assert.rejects(inner.token(wanted), Unavailable);
    } finally {
      await stage.do("start");
      await limit("15m");
    }
  });

  test("redirects have proofs of their own, and other origins nothing", async () => {
    const tickets = open(fresh());
    for (const path of ["/api/moved", "/api/twice", "/api/items/7", "/api/moved"]) {
      const answer = await tickets(path);
      assert.equal(await answer.text(), "reporter: read GET /api/items/7\n", path);
      assert.equal(answer.url, `${stage.origin}/api/items/7`);
    }
    // That one asks for a nonce, as if it were the tool.
    const away = await tickets("/api/away");
    assert.deepEqual([away.status, await away.text()], [401, "[|]\n"]);
    // Where to it comes back was the other's word.
    assert.equal((await tickets("/api/round")).status, 401);
    assert.equal((await tickets("/api/moved", { redirect: "manual" })).status, 307);
    await assert.rejects(tickets("/api/moved", { redirect: "error" }), TypeError);
    await assert.rejects(tickets(`${stage.other}/echo`), OtherOrigin);
  });

  test("a proof is for the path as it is sent", async () => {
    const tickets = open(fresh());
    const paths = ["a%20b?x=1&y=%2F#z", "a b", "~aBc", "%7Ea", "é", "./7", "../items/7"];
    for (const path of paths) assert.equal((await tickets(`/api/items/${path}`)).status, 200, path);
    const asked = new Request(`${stage.origin}/api/items/7`, { headers: { authorization: "Basic eA==" } });
    assert.equal((await tickets(asked)).status, 200);
  });

  test("calls at once share one token", async () => {
    const session = fresh();
    const tickets = open(session);
    const paths = Array.from({ length: 100 }, (_, each) => `/api/items/${each}`);
    tokens.clear();
    for (const answer of await Promise.all(paths.map((path) => tickets(path)))) assert.equal(answer.status, 200);
    assert.equal(tokens.size, 1);
  });

  test("a stolen token is worth nothing", async () => {
    const session = fresh();
    assert.equal((await open(session)("/api/items/7")).status, 200);
    const url = `${stage.origin}/api/items/7`;
    const token = (await innerOf(session).token(wanted)).text;
    const nonce = innerOf(session).nonces.of(stage.origin);
    const [own, thief] = [await innerOf(session).key, await Key.make()];
    const status = async (scheme: string, proof?: string): Promise<number> => {
      const headers = { authorization: `${scheme} ${token.expose()}`, ...(proof === undefined ? {} : { dpop: proof }) };
      return (await plain(url, { headers })).status;
    };
    // The key itself may, so that what follows is refused for the key.
    const captured = await own.proof("GET", url, nonce, token);
    assert.equal(await status("DPoP", captured), 200);
    assert.equal(await status("DPoP", captured), 401);
    assert.equal(await status("DPoP", await thief.proof("GET", url, nonce, token)), 401);
    assert.equal(await status("DPoP"), 401);
    assert.equal(await status("Bearer"), 401);
    assert.equal(await status("DPoP", await own.proof("GET", `${url}1`, nonce, token)), 401);
    assert.equal(await status("DPoP", await own.proof("GET", url, nonce, new Secret("another"))), 401);
  });

  test("nothing secret is said, shown or written", async () => {
    const folder = mkdtempSync(join(tmpdir(), "df-"));
    const here = process.cwd();
    process.chdir(folder);
    try {
      const [session, errors] = [fresh(), [] as DayflyError[]];
      const tickets = open(session);
      assert.equal((await tickets("/api/items/7")).status, 200);
      const token = await innerOf(session).token(wanted);
      assert.ok(token.text.expose().startsWith(TOKEN));
      const keep = (error: DayflyError): number => errors.push(error);
      await stage.do("dayfly", "agent", "suspend", "reporter");
      await open(fresh())("/api/items/7").catch(keep);
      await stage.do("dayfly", "agent", "resume", "reporter");
      await stage.do("stop");
      await open(fresh())("/api/items/7").catch(keep);
      await stage.do("start");
      await tickets(`${stage.other}/x`).catch(keep);
      assert.deepEqual(errors.map((each) => each.constructor), [Refused, Unavailable, OtherOrigin]);
      const everything = [session, innerOf(session), token, await innerOf(session).key, ...errors];
      const shown = everything.map((each) => inspect(each, { depth: 9, showHidden: true }) + JSON.stringify(each));
      const places = {
        shown: `${shown.join("\n")}${errors.map((each) => each.stack).join("\n")}`,
        environment: readFileSync("/proc/self/environ", "utf8") + JSON.stringify(process.env),
        arguments: readFileSync("/proc/self/cmdline", "utf8"),
        daemon: await stage.do("log"),
      };
      assert.ok(places.shown.includes("Secret(..)") && places.daemon);
      assert.deepEqual(readdirSync(folder), []);
      const signature = token.text.expose().split(".")[2] ?? "";
      for (const [place, text] of Object.entries(places)) {
        for (const needle of [TOKEN, PROOF, token.text.expose(), signature]) assert.ok(!text.includes(needle), place);
      }
    } finally {
      process.chdir(here);
      rmSync(folder, { recursive: true });
    }
  });
});
