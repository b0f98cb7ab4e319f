// oauth4webapi, unmodified, as an agent that exchanges its user's token, and as the API that verifies what it gets. jose
// makes the user's tokens. exchange.mjs keys | drive
//
// A request comes on stdin and its answer goes to stdout, both JSON; tests/interop/exchange.rs says what is in them. Node's
// fetch has no Unix sockets, undici's agent does. On the socket there is no TLS: URLs stay https, the connection is plain.

import { readFileSync } from "node:fs";
import { createHash, webcrypto } from "node:crypto";

// Node 18 has it, but not by this name.
globalThis.crypto ??= webcrypto;
const oauth = await import("oauth4webapi");
const jose = await import("jose");
const { Agent, fetch } = await import("undici");

const GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT = "urn:ietf:params:oauth:token-type:jwt";
const TOKEN = "urn:ietf:params:oauth:token-type:access_token";

async function keys() {
  const pair = await jose.generateKeyPair("PS256", { extractable: true });
  const named = { kid: "login-1", use: "sig", alg: "PS256" };
  return {
    jwks: { keys: [{ ...(await jose.exportJWK(pair.publicKey)), ...named }] },
    secret: { ...(await jose.exportJWK(pair.privateKey)), ...named },
  };
}

async function drive({ socket, issuer, login, secret, audience, url }) {
  const dispatcher = new Agent({ connect: { socketPath: socket } });
  const customFetch = (target, options) => fetch(target.toString().replace(/^https:/, "http:"), { ...options, dispatcher });
  const here = { [oauth.customFetch]: customFetch };
  const name = new URL(issuer);
  const found = await oauth.discoveryRequest(name, { algorithm: "oauth2", ...here });
  const as = await oauth.processDiscoveryResponse(name, found);
  const client = { client_id: "reporter", token_endpoint_auth_method: "none" };
  const [pair, other] = [await oauth.generateKeyPair("ES256"), await oauth.generateKeyPair("ES256")];

  const key = await jose.importJWK(secret, "PS256");
  const user = (changed = {}) =>
    new jose.SignJWT({ scope: "openid read", ...changed })
      .setProtectedHeader({ alg: "PS256", kid: "login-1", typ: "JWT" })
      .setIssuer(login)
      .setSubject("ada")
      .setAudience(changed.aud ?? issuer)
      .setIssuedAt()
      .setExpirationTime(changed.exp ?? "2m")
      .sign(key);

  // One request, and once more with the nonce that is asked for. Answers what was given, or the error's code.
  let nonces = 0;
  async function ask(request, process, pair) {
    const DPoP = oauth.DPoP(client, pair);
    for (const isLast of [false, true]) {
      try {
        return await process(as, client, await request({ DPoP, ...here }));
      } catch (error) {
        if (!isLast && oauth.isDPoPNonceError(error)) nonces += 1;
        else if (error instanceof oauth.ResponseBodyError) return { refused: error.error, status: error.status };
        else throw error;
      }
    }
  }
  const plain = (params, by = pair) =>
    ask(
      (options) => oauth.clientCredentialsGrantRequest(as, client, oauth.None(), new URLSearchParams(params), options),
      oauth.processClientCredentialsResponse,
      by,
    );
  const exchange = (token, kind, params = {}, by = pair) => {
    const form = new URLSearchParams({ subject_token: token, subject_token_type: kind, resource: audience, ...params });
    return ask(
      (options) => oauth.genericTokenEndpointRequest(as, client, oauth.None(), GRANT, form, options),
      oauth.processGenericTokenEndpointResponse,
      by,
    );
  };

  // The API's own judgement on a request with a token and a proof.
  async function judge(token, { by = pair, method = "GET", target = url, shown = token, scheme = "DPoP" } = {}) {
    const jwk = await jose.exportJWK(by.publicKey);
    const ath = createHash("sha256").update(shown).digest("base64url");
    const proof = await new jose.SignJWT({ htm: method, htu: target, ath, jti: crypto.randomUUID() })
      .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk })
      .setIssuedAt()
      .sign(by.privateKey);
    const request = new Request(url, { headers: { authorization: `${scheme} ${token}`, dpop: proof } });
    try {
      const { sub, sub_iss, act, client_id, scope } = await oauth.validateJwtAccessToken(as, request, audience, here);
      return { sub, sub_iss, act, client_id, scope };
    } catch (error) {
      return { refused: error.code ?? error.constructor.name };
    }
  }

  const own = await plain({ resource: audience });
  const delegated = await exchange(await user(), JWT, { scope: "read" });
  const again = await exchange(delegated.access_token, TOKEN, { requested_token_type: TOKEN });
  const narrowed = await exchange(own.access_token, TOKEN, { scope: "read" });
  const [begin, end] = [own.access_token.slice(0, -8), own.access_token.slice(-8)];
  const shown = ({ token_type, issued_token_type, scope, expires_in, refused, status }) => ({
    token_type, issued_token_type, scope, expires_in, refused, status,
  });
  const strangers = await jose.generateKeyPair("PS256");
  const forged = new jose.SignJWT({})
    .setProtectedHeader({ alg: "PS256", kid: "login-1" })
    .setIssuer(login)
    .setSubject("ada")
    .setAudience(issuer)
    .setExpirationTime("2m");
  const answer = {
    metadata: as.grant_types_supported,
    given: { own: shown(own), delegated: shown(delegated), again: shown(again), narrowed: shown(narrowed) },
    judged: {
      own: await judge(own.access_token),
      delegated: await judge(delegated.access_token),
      again: await judge(again.access_token),
    },
    unjudged: {
      "another's key": await judge(delegated.access_token, { by: other }),
      "as Bearer": await judge(delegated.access_token, { scheme: "Bearer" }),
      "another method": await judge(delegated.access_token, { method: "POST" }),
      "another URL": await judge(delegated.access_token, { target: `${url}8` }),
      "another token's proof": await judge(delegated.access_token, { shown: own.access_token }),
      "an altered signature": await judge(begin + (end === "AAAAAAAA" ? "BBBBBBBB" : "AAAAAAAA")),
    },
    refused: {
      "own by another's key": shown(await exchange(own.access_token, TOKEN, {}, other)),
      "for others": shown(await exchange(await user({ aud: "https://mail.test" }), JWT)),
      "for us and others": shown(await exchange(await user({ aud: [issuer, "https://mail.test"] }), JWT)),
      "expired": shown(await exchange(await user({ exp: "-1s" }), JWT)),
      "bound to another's key": shown(
        await exchange(await user({ cnf: { jkt: await jose.calculateJwkThumbprint(await jose.exportJWK(other.publicKey)) } }), JWT),
      ),
      "another may act": shown(await exchange(await user({ may_act: { sub: "spiffe://example.org/mailer" } }), JWT)),
      "not signed by its issuer": shown(await exchange(await forged.sign(strangers.privateKey), JWT)),
      "wider": shown(await exchange(await user(), JWT, { scope: "write" })),
      "an actor": shown(await exchange(await user(), JWT, { actor_token: own.access_token, actor_token_type: TOKEN })),
      "another tool": shown(await exchange(await user(), JWT, { resource: "https://mail.example.org" })),
    },
    nonces,
  };
  await dispatcher.close();
  return answer;
}

const request = JSON.parse(readFileSync(0, "utf8") || "{}");
process.stdout.write(JSON.stringify(await { keys, drive }[process.argv[2]](request)));
