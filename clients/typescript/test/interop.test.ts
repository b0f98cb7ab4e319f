// jose, which knows neither us nor the daemon, believes the tokens by the published keys, and the proofs.

import assert from "node:assert/strict";
import { request } from "node:http";
import { after, describe, test } from "node:test";
import * as jose from "jose";
import { createFetch, Session } from "../src/index.js";
import { Stage } from "./stage.js";

const started = await Stage.start();

describe("jose", { skip: typeof started === "string" ? started : false }, () => {
  const stage = started as Stage;
  after(() => stage.close());

  const published = (path: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const asked = request({ socketPath: stage.socket, path, headers: { host: "localhost" }, agent: false }, (answer) => {
        let body = "";
        answer.on("data", (chunk) => (body += String(chunk)));
        answer.on("end", () => resolve(JSON.parse(body)));
      });
      asked.on("error", reject).end();
    });

  /** A token and a proof as they are sent, and the thumbprint of whose they are. */
  const sent = async (): Promise<[string, string, string]> => {
    const session = new Session({ socket: stage.socket });
    let headers = new Headers();
    const keep: typeof fetch = async (_, init) => {
      headers = new Headers(init?.headers);
      return new Response();
    };
    const tickets = createFetch({ resource: stage.origin, scope: "read", session, fetch: keep });
    await tickets(`${stage.origin}/api/items/7?x=1`);
    const authorization = headers.get("authorization") ?? "";
    assert.ok(authorization.startsWith("DPoP "));
    return [authorization.slice(5), headers.get("dpop") ?? "", await session.thumbprint()];
  };

  const keys = async (): Promise<jose.JSONWebKeySet> => {
    const metadata = (await published("/.well-known/oauth-authorization-server")) as { jwks_uri: string };
    return (await published(new URL(metadata.jwks_uri).pathname)) as jose.JSONWebKeySet;
  };

  const altered = (token: string, part: number): string => {
    const parts = token.split(".");
    const text = parts[part] ?? "";
    const middle = text.length >> 1;
    parts[part] = text.slice(0, middle) + (text[middle] === "A" ? "B" : "A") + text.slice(middle + 1);
    return parts.join(".");
  };

  test("believes a token by the published keys, and nothing else", async () => {
    const [token, , thumbprint] = await sent();
    const set = jose.createLocalJWKSet(await keys());
    const expected = {
      issuer: "https://example.org/oauth",
      audience: stage.origin,
      typ: "at+jwt",
      algorithms: ["ES256"],
      requiredClaims: ["sub", "client_id", "jti", "exp", "iat"],
    };
    const { payload } = await jose.jwtVerify(token, set, expected);
    assert.deepEqual(payload["cnf"], { jkt: thumbprint });
    assert.deepEqual([payload["client_id"], payload["scope"]], ["reporter", "read"]);
    for (const part of [0, 1, 2]) await assert.rejects(jose.jwtVerify(altered(token, part), set, expected));
    for (const wrong of [{ audience: "https://other.example" }, { issuer: "https://example.org" }, { typ: "JWT" }]) {
      await assert.rejects(jose.jwtVerify(token, set, { ...expected, ...wrong }), jose.errors.JWTClaimValidationFailed);
    }
    const later = { ...expected, currentDate: new Date(Date.now() + 3_600_000) };
    await assert.rejects(jose.jwtVerify(token, set, later), jose.errors.JWTExpired);
  });

  test("believes a proof by its own key, which the token names", async () => {
    const [, proof, thumbprint] = await sent();
    const expected = { typ: "dpop+jwt", algorithms: ["ES256"], maxTokenAge: 5 };
    const { payload, protectedHeader } = await jose.jwtVerify(proof, jose.EmbeddedJWK, expected);
    assert.deepEqual([payload["htm"], payload["htu"]], ["GET", `${stage.origin}/api/items/7`]);
    assert.equal(await jose.calculateJwkThumbprint(protectedHeader.jwk as jose.JWK), thumbprint);
    for (const part of [1, 2]) await assert.rejects(jose.jwtVerify(altered(proof, part), jose.EmbeddedJWK, expected));
    const { publicKey } = await jose.generateKeyPair("ES256");
    await assert.rejects(jose.jwtVerify(proof, publicKey, expected), jose.errors.JWSSignatureVerificationFailed);
  });
});
