/**
 * Tickets: one-time stand-ins for a token, for clients that cannot set headers (`?ticket=`).
 *
 * Invariants: a ticket is 256 random bits of which only the SHA-256 is stored, so whoever reads the table cannot use it; it is good
 * once, for 30 s, on any instance; the identity it stands for ends when its token would have ended.
 * @module
 */
import type { Clock } from "../clock.ts";
import { TidingsError } from "../errors.ts";
import { type Identity, identitySchema } from "./identity.ts";

/** Where tickets are kept. Hashes are 32 bytes. */
export interface TicketStore {
  /** Keeps one for `ttl` seconds. Resolves to when it expires, or undefined when its user has too many open. */
  create(hash: Uint8Array, identity: Identity, ttl: number): Promise<Date | undefined>;
  /** Takes one out, for exactly one caller. Resolves to the identity it was made with, or undefined. */
  redeem(hash: Uint8Array): Promise<unknown>;
}

/** A ticket and when it ends. */
export interface Ticket {
  ticket: string;
  expiresAt: Date;
}

/** Makes and takes tickets. */
export interface Tickets {
  /** @throws TidingsError `too_many_requests` when the user has too many that are not used */
  create(identity: Identity): Promise<Ticket>;
  /** @throws TidingsError `invalid_token` when it was used, has expired or never existed; `token_expired` when its token has */
  redeem(ticket: string): Promise<Identity>;
}

/** Seconds that a ticket is good for. */
export const TICKET_TTL = 30;

/** What a ticket looks like: 256 bits in base64url. */
const TICKET = /^[A-Za-z0-9_-]{43}$/;

/** Tickets kept in a store. */
export function createTickets(store: TicketStore, deps: { clock: Clock }): Tickets {
  return {
    async create(identity) {
      const secret = crypto.getRandomValues(new Uint8Array(32));
      const ticket = secret.toBase64({ alphabet: "base64url", omitPadding: true });
      const expiresAt = await store.create(await hashOf(ticket), identity, TICKET_TTL);
      if (expiresAt === undefined) {
        throw new TidingsError(
          "too_many_requests",
          `Cannot make a ticket: too many of this user's are not used; each ends after ${TICKET_TTL} s`,
          { retryAfter: TICKET_TTL },
        );
      }
      return { ticket, expiresAt };
    },
    async redeem(ticket) {
      const stored = TICKET.test(ticket) ? await store.redeem(await hashOf(ticket)) : undefined;
      if (stored === undefined) {
        throw new TidingsError(
          "invalid_token",
          "Cannot accept the ticket: it was used, has expired or never existed; make one with POST /v1/tickets",
        );
      }
      const identity = identitySchema.parse(stored);
      if (identity.expiresAt !== undefined && identity.expiresAt <= deps.clock.now()) {
        throw new TidingsError(
          "token_expired",
          "Cannot accept the ticket: the token it was made with has expired",
        );
      }
      return identity;
    },
  };
}

async function hashOf(ticket: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(ticket)));
}
