/** Access tokens of a Dayfly daemon, each bound to a key that never leaves this process. */

export { DayflyError, OtherOrigin, Refused, Unavailable } from "./errors.js";
export { createFetch, type FetchOptions } from "./fetch.js";
export { defaultSession, Session, type SessionOptions } from "./session.js";
