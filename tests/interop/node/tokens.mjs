// jose, unmodified, as somebody who believes our tokens, and whose tokens we judge: tokens.mjs judge | make
//
// A request comes on stdin and its answer goes to stdout, both JSON; tests/interop/libraries.rs says what is in them.

import { createPrivateKey, createPublicKey, generateKeyPairSync, webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";

// Node 18 has it, but not by this name.
globalThis.crypto ??= webcrypto;
const jose = await import("jose");

async function judge({ bundle, questions }) {
  const answers = [];
  for (const question of questions) answers.push(await judgeOne(bundle, question));
  return answers;
}

// The token's subject if it is believed `later` seconds from now, or why it is not.
async function judgeOne(bundle, { token, audience, later }) {
  const keyOf = async ({ alg, kid }) => {
    const keys = bundle.keys.filter((key) => key.use === "jwt-svid" && key.kid === kid);
    if (keys.length !== 1) throw new jose.errors.JWKSNoMatchingKey();
    return jose.importJWK(keys[0], alg);
  };
  const currentDate = new Date(Date.now() + later * 1000);
  const expected = { audience, currentDate, algorithms: ["ES256", "ES384"], requiredClaims: ["sub", "aud", "exp"] };
  try {
    const { payload } = await jose.jwtVerify(token, keyOf, expected);
    return { sub: payload.sub };
  } catch (error) {
    if (!(error instanceof jose.errors.JOSEError)) throw error;
    return { refused: error.code };
  }
}

const publicJwk = async (kid, key) => ({ ...(await jose.exportJWK(createPublicKey(key))), use: "jwt-svid", kid });

const generate = (kind, options = {}) => generateKeyPairSync(kind, options).privateKey;
const onCurve = (namedCurve) => generate("ec", { namedCurve });

async function make({ own, subject, audience }) {
  const main = own ? own.kid : "p256";
  const keys = own
    ? { [main]: createPrivateKey({ key: Buffer.from(own.pkcs8, "base64"), format: "der", type: "pkcs8" }) }
    : {
        p256: onCurve("P-256"),
        p384: onCurve("P-384"),
        p521: onCurve("P-521"),
        rsa: generate("rsa", { modulusLength: 2048 }),
        ed25519: generate("ed25519"),
      };
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: subject, aud: [audience, "others"], iat: now, exp: now + 300 };
  const made = {};
  const token = async (name, header = {}, changed = {}, key = keys[header.kid ?? main], options = {}) => {
    const whole = { alg: "ES256", kid: main, typ: "JWT", ...header };
    made[name] = await new jose.SignJWT({ ...claims, ...changed }).setProtectedHeader(whole).sign(key, options);
  };

  await token("as it should be");
  await token("no typ", { typ: undefined });
  await token("typ JOSE", { typ: "JOSE" });
  await token("audience as a text", {}, { aud: audience });
  const more = { deep: { list: [1, "é", null, true, 1.5] }, iss: "https://other.test", jti: "1", nbf: now };
  await token("claims of its own", {}, more);
  await token("no kid", { kid: undefined });

  made["alg none"] = new jose.UnsecuredJWT(claims).encode();
  const spki = createPublicKey(keys[main]).export({ format: "der", type: "spki" });
  await token("alg HS256 with the public key", { alg: "HS256" }, {}, new Uint8Array(spki));
  await token("alg of another curve", { alg: "ES384" }, {}, onCurve("P-384"));
  await token("another's key", {}, {}, onCurve("P-256"));
  await token("unknown kid", { kid: "nobody's" }, {}, keys[main]);
  await token("typ at+jwt", { typ: "at+jwt" });
  await token("typ wit+jwt", { typ: "wit+jwt" });
  await token("crit", { crit: ["x"], x: 1 }, {}, keys[main], { crit: { x: true } });
  await token("jwk in the header", { jwk: await publicJwk(main, keys[main]) });
  await token("expired", {}, { exp: now - 120 });
  await token("not valid yet", {}, { nbf: now + 120 });
  await token("no exp", {}, { exp: undefined });
  await token("no aud", {}, { aud: undefined });
  await token("other audiences", {}, { aud: ["others"] });
  await token("no sub", {}, { sub: undefined });
  await token("sub of no workload", {}, { sub: subject.slice(0, subject.lastIndexOf("/")) });
  await token("sub of another trust domain", {}, { sub: "spiffe://third.test/a" });
  if (!own) {
    await token("sub of our trust domain", {}, { sub: "spiffe://example.org/peer" });
    const algorithms = {
      p384: ["ES384"],
      p521: ["ES512"],
      rsa: ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
      ed25519: ["EdDSA"],
    };
    for (const [kid, names] of Object.entries(algorithms)) {
      for (const alg of names) await token(alg, { alg, kid });
    }
  }
  const jwks = await Promise.all(Object.entries(keys).map(([kid, key]) => publicJwk(kid, key)));
  return { keys: jwks, tokens: made };
}

const request = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(await { judge, make }[process.argv[2]](request)));
