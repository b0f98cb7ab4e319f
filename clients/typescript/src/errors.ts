// What can go wrong before a request is sent. No text here ever has a token, a key or a proof in it.

/** Any error of this package. */
export class DayflyError extends Error {
  override name = "DayflyError";
}

/** The daemon does not answer, or not as one does. */
export class Unavailable extends DayflyError {
  override name = "Unavailable";
}

/** A request goes to another origin than the one that the token is for. */
export class OtherOrigin extends DayflyError {
  override name = "OtherOrigin";
}

/** The daemon issues no token. `error` and `errorDescription` are the daemon's (RFC 6749 §5.2). */
export class Refused extends DayflyError {
  override name = "Refused";
  readonly error: string;
  readonly errorDescription: string;
  /** That of HTTP. */
  readonly status: number;
  /** The seconds after which the daemon may be asked again, where it says so. */
  readonly retryAfter: number | undefined;

  constructor(error: string, errorDescription: string, status: number, retryAfter?: number) {
    const later = retryAfter === undefined ? "" : ` (again in ${retryAfter} s)`;
    super(`no access token: ${error}: ${errorDescription}${later}`);
    this.error = error;
    this.errorDescription = errorDescription;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}
