/**
 * Request bodies: bounded before they are read, bounded all together, and UTF-8.
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { AuthEnv } from "../auth/middleware.ts";
import { TidingsError } from "../errors.ts";
import { parsePublications } from "../exact_json.ts";

/** Bytes of bodies that may be held at a time. */
export interface BodyBudgetLimits {
  total: number;
  /** Of one user. */
  perUser: number;
}

/** The defaults of {@link BodyBudgetLimits}. */
export const BODY_BUDGET: Readonly<BodyBudgetLimits> = {
  total: 128 * 1024 * 1024,
  perUser: 32 * 1024 * 1024,
};

/** What is held at the moment. */
export class BodyBudget {
  readonly #limits: BodyBudgetLimits;
  readonly #users = new Map<string, number>();
  #held = 0;

  constructor(limits: BodyBudgetLimits = BODY_BUDGET) {
    this.#limits = limits;
  }

  /** Bytes held now. */
  get held(): number {
    return this.#held;
  }

  /**
   * Sets bytes aside for a user; the returned function gives them back.
   * @throws {TidingsError} `too_many_requests` or `unavailable`
   */
  take(user: string, bytes: number): () => void {
    const own = this.#users.get(user) ?? 0;
    if (own > 0 && own + bytes > this.#limits.perUser) {
      throw new TidingsError(
        "too_many_requests",
        `Cannot take the request: ${own} bytes of your other requests are under way; wait for their answers`,
        { retryAfter: 1 },
      );
    }
    if (this.#held > 0 && this.#held + bytes > this.#limits.total) {
      throw new TidingsError(
        "unavailable",
        "Cannot take the request: too many others are under way; try again",
        {
          retryAfter: 1,
        },
      );
    }
    this.#held += bytes;
    this.#users.set(user, own + bytes);
    return () => {
      this.#held -= bytes;
      const left = (this.#users.get(user) ?? 0) - bytes;
      if (left > 0) this.#users.set(user, left);
      else this.#users.delete(user);
    };
  }
}

/**
 * Reads the body, at most `max` bytes of it, as UTF-8 text; `c.req.text()` and `c.req.json()` then have it, the latter with
 * the digits of the numbers in `data`. Comes after `authenticate`.
 */
export function textBody(max: number, budget: BodyBudget): MiddlewareHandler<AuthEnv> {
  const counted = bodyLimit({
    maxSize: max,
    onError: () => {
      throw tooLarge(max);
    },
  });
  return async (c, next) => {
    const chunked = c.req.header("transfer-encoding") !== undefined;
    const length = chunked ? max : Number(c.req.header("content-length") ?? 0);
    if (length > max) throw tooLarge(max);
    const release = budget.take(c.get("identity").user, length);
    try {
      if (chunked) await counted(c, async () => await read(c, next));
      else await read(c, next);
    } finally {
      release();
    }
  };
}

async function read(c: Context, next: () => Promise<void>): Promise<void> {
  const bytes = await c.req.arrayBuffer();
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new TidingsError("invalid_request", "Cannot read the body: it is not UTF-8");
  }
  // Hono types what the cache resolves to, and holds promises
  c.req.bodyCache.text = Promise.resolve(text) as unknown as string;
  c.req.json = <T>() => Promise.resolve().then(() => parsePublications(text) as T);
  await next();
}

function tooLarge(max: number): TidingsError {
  return new TidingsError(
    "too_large",
    `Cannot read the body: it has more than ${max} bytes; send less at once`,
  );
}
