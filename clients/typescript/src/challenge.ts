// What a resource wants that refused a request (RFC 9110 §11.6.1, RFC 9449 §7.1).

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const PARAMETER = new RegExp(`^(${TOKEN})[ \\t]*=[ \\t]*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))$`);
const SCHEME = new RegExp(`^(${TOKEN})(?:[ \\t]+(.*))?$`, "s");
// What stands between commas, which may stand within quotes too. A quote that is not closed takes all the rest: looked for
// from each quote anew, its end would cost the square of the length.
const PART = /(?:[^",]|"(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*)+/g;

const BYTES_MAX = 8 * 1024;

/** The `error` of the DPoP challenge in `WWW-Authenticate`. */
export function errorOf(value: string | null): string | undefined {
  let scheme = "";
  for (const part of (value ?? "").slice(0, BYTES_MAX).match(PART) ?? []) {
    const text = part.trim();
    let parameter = PARAMETER.exec(text);
    if (parameter === null) {
      const begun = SCHEME.exec(text);
      if (begun === null) continue;
      scheme = (begun[1] ?? "").toLowerCase();
      parameter = PARAMETER.exec((begun[2] ?? "").trim());
    }
    if (scheme === "dpop" && parameter?.[1]?.toLowerCase() === "error") return parameter[2] ?? parameter[3];
  }
  return undefined;
}
