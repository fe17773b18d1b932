/**
 * The token: asked for once at a time, kept while it is good, renewed before it expires. It is only read here, never
 * checked: that is the gateway's part. Without a token the browser's cookie is what counts.
 * @module
 */
import type { Clock } from "../clock.ts";
import { CALL, within } from "./deadline.ts";
import { TidingsClientError } from "./problem.ts";

/** Gives a token; asked again before the one it gave expires. */
export type GetToken = () => string | Promise<string>;

/** Times in milliseconds. */
const SOON = 60_000;
/** A token is not asked for more often than this, whatever it says of itself. */
const RARELY = 1_000;

/** One session's credentials. */
export class Credentials {
  readonly #getToken: GetToken | undefined;
  readonly #clock: Clock;
  #token: string | undefined;
  /** When to ask for the next one, milliseconds; infinity for a token that does not expire. */
  #due = Infinity;
  #asking: Promise<string | undefined> | null = null;

  constructor(clock: Clock, token?: string, getToken?: GetToken) {
    this.#clock = clock;
    this.#getToken = getToken;
    if (token !== undefined) this.#keep(token);
  }

  /** Whether another token can be had. */
  get renewable(): boolean {
    return this.#getToken !== undefined;
  }

  /** True: no token at all, the browser sends its cookie. */
  get cookie(): boolean {
    return this.#token === undefined && this.#getToken === undefined;
  }

  /** The `sub` of the token, for the name under which things are stored. */
  get user(): string | undefined {
    return this.#token === undefined ? undefined : text(claims(this.#token).sub);
  }

  /** A good token, or undefined when the cookie counts. `fresh`: the one there is was refused. */
  token(fresh = false): Promise<string | undefined> {
    if (this.cookie) return Promise.resolve(undefined);
    if (this.#getToken === undefined) {
      if (!fresh) return Promise.resolve(this.#token);
      const message = "Cannot renew the token: there is only the one given; give getToken to connect()";
      return Promise.reject(new TidingsClientError("token_expired", message));
    }
    if (!fresh && this.#token !== undefined && this.#clock.now() < this.#due) {
      return Promise.resolve(this.#token);
    }
    this.#asking ??= this.#ask(this.#getToken).finally(() => this.#asking = null);
    return this.#asking;
  }

  /** Calls back when it is time to renew; the returned function cancels. */
  whenDue(run: () => void): () => void {
    if (!this.renewable || this.#due === Infinity) return () => {};
    return this.#clock.after(Math.max(0, this.#due - this.#clock.now()), run);
  }

  async #ask(getToken: GetToken): Promise<string> {
    const asked = Promise.resolve().then(getToken);
    const token = await within(this.#clock, CALL, "get a token", "getToken did not answer in time", asked);
    if (typeof token !== "string" || token === "") {
      throw new TidingsClientError("invalid_argument", "Cannot get a token: getToken gave no text");
    }
    this.#keep(token);
    return token;
  }

  #keep(token: string): void {
    this.#token = token;
    const { exp, iat } = claims(token);
    if (typeof exp !== "number") {
      this.#due = Infinity;
      return;
    }
    const now = this.#clock.now();
    const left = exp * 1000 - now;
    const whole = typeof iat === "number" ? (exp - iat) * 1000 : left;
    // one that seems expired as it arrives tells of a clock that is wrong here: then its whole life counts
    const life = left > 0 ? Math.min(left, whole) : whole;
    this.#due = now + Math.max(RARELY, life - Math.min(SOON, life / 4));
  }
}

/** The claims of a JWT, unchecked; nothing when it is not one. */
export function claims(token: string): Record<string, unknown> {
  try {
    const part = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (char) => char.charCodeAt(0));
    const read: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof read === "object" && read !== null ? read as Record<string, unknown> : {};
  } catch {
    // an opaque token is as good as a JWT here: it merely cannot be renewed ahead of time
    return {};
  }
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
