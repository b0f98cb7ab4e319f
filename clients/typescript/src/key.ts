// The key of one process, and the proofs that it signs (RFC 9449 §4.2). It is made in memory and cannot be exported.

import { webcrypto } from "node:crypto";
import type { Secret } from "./secret.js";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

type Json = Record<string, unknown>;

const encoded = (data: ArrayBuffer | string): string =>
  (typeof data === "string" ? Buffer.from(data) : Buffer.from(data)).toString("base64url");
const digest = async (text: string): Promise<string> =>
  encoded(await webcrypto.subtle.digest("SHA-256", Buffer.from(text)));

/** A key that proves who holds a token. */
export class Key {
  /** Of its public half (RFC 7638), which is the `cnf.jkt` of its tokens. */
  readonly thumbprint: string;
  readonly #private: webcrypto.CryptoKey;
  readonly #header: string;

  private constructor(key: webcrypto.CryptoKey, header: string, thumbprint: string) {
    this.#private = key;
    this.#header = header;
    this.thumbprint = thumbprint;
  }

  static async make(): Promise<Key> {
    const pair = await webcrypto.subtle.generateKey(ALGORITHM, false, ["sign", "verify"]);
    const { crv, kty, x, y } = await webcrypto.subtle.exportKey("jwk", pair.publicKey);
    // RFC 7638 §3: the members in the order of their names.
    const jwk = { crv, kty, x, y };
    const header = encoded(JSON.stringify({ typ: "dpop+jwt", alg: "ES256", jwk }));
    return new Key(pair.privateKey, header, await digest(JSON.stringify(jwk)));
  }

  /** A new proof for one request. With a token it is for a resource, without for a token endpoint. */
  async proof(method: string, url: string, nonce?: string, token?: Secret): Promise<string> {
    const jti = Buffer.from(webcrypto.getRandomValues(new Uint8Array(16))).toString("base64url");
    const claims: Json = { jti, htm: method, htu: url, iat: Math.floor(Date.now() / 1000) };
    if (token !== undefined) claims["ath"] = await digest(token.expose());
    if (nonce !== undefined) claims["nonce"] = nonce;
    const signed = `${this.#header}.${encoded(JSON.stringify(claims))}`;
    return `${signed}.${encoded(await webcrypto.subtle.sign(ALGORITHM, this.#private, Buffer.from(signed)))}`;
  }
}
