/**
 * Sending on behalf of somebody: reads what came, checks rights and rates, and hands it to the publisher. Every way in (HTTP,
 * WebSocket, STOMP) sends through this, so that the same rules hold for all.
 * @module
 */
import { createHash } from "node:crypto";
import { type Identity, mayPublish } from "../auth/identity.ts";
import type { Clock } from "../clock.ts";
import type { BatchRow } from "../database/publish_store.ts";
import { type FieldError, TidingsError } from "../errors.ts";
import {
  type CheckedPublication,
  MAX_EXPANDED_BYTES,
  MAX_ROWS,
  normalise,
  type publicationSchema,
  publicationsSchema,
  weigh,
} from "./publication.ts";
import type { Published, Publisher } from "./publisher.ts";
import { type RateLimits, tokenBuckets } from "./rate.ts";
import { invalid, MAX_VIOLATIONS, violations } from "./violations.ts";
import type { z } from "@hono/zod-openapi";

/** What one request wants to send. */
export interface Submission {
  publications: readonly CheckedPublication[];
  /** Whether it came as a list: then fields are named with their place, such as `0.to`. */
  list: boolean;
  /** What the client said, where the publications do not hold it (a time that counts from now): what a repeat is told by. */
  said?: string;
}

/** Sends on behalf of somebody. */
export interface Sender {
  /**
   * Reads a publication or a list of them, as it came from outside.
   * @throws {TidingsError} `invalid_request`, naming every field that is wrong
   */
  read(input: unknown): Submission;
  /**
   * Resolves once everything is committed, or nothing was sent.
   * @param key an idempotency key, 1 to 255 characters; unique per user
   * @throws {TidingsError} `forbidden`, `too_large`, `too_many_requests`, and what {@link Publisher} throws
   */
  send(identity: Identity, submission: Submission, key?: string): Promise<Published>;
}

/** Notifications × topics of one user. Administrators are not limited: applications send with their tokens. */
export const SEND_RATE: Readonly<RateLimits> = { perSecond: 1_000, burst: 20_000 };

/** A sender over a publisher. */
export function createSender(
  deps: { publisher: Pick<Publisher, "publish">; clock: Clock; rate?: RateLimits },
): Sender {
  const take = tokenBuckets(deps.rate ?? SEND_RATE, deps.clock);
  return {
    read(input) {
      const result = publicationsSchema.safeParse(input);
      if (!result.success) throw invalid("send", violations(result.error));
      return toSubmission(result.data);
    },
    async send(identity, submission, key) {
      checkRights(identity, submission);
      const { publications } = submission;
      const rows = publications.map((publication) => toRow(publication, identity));
      const size = measure(publications);
      if (!identity.admin) {
        const wait = take(identity.user, size.count);
        if (wait > 0) throw tooMany(wait);
      }
      return await deps.publisher.publish({
        rows,
        ...size,
        ...(key === undefined ? {} : {
          idempotency: { owner: identity.user, key, fingerprint: fingerprint(submission.said ?? rows) },
        }),
      });
    },
  };
}

/** A submission of what the schema accepted. */
export function toSubmission(
  accepted: z.output<typeof publicationSchema> | z.output<typeof publicationSchema>[],
): Submission {
  const list = Array.isArray(accepted);
  return { publications: (list ? accepted : [accepted]).map(normalise), list };
}

function checkRights(identity: Identity, { publications, list }: Submission): void {
  const errors: FieldError[] = [];
  for (const [index, { to, sender }] of publications.entries()) {
    const prefix = list ? `${index}.` : "";
    const refused = to.find((topic) => !mayPublish(identity, topic));
    if (refused !== undefined) {
      errors.push({ field: `${prefix}to`, message: `the token does not allow to send to ${refused}` });
    }
    if (sender !== undefined && sender !== identity.user && !identity.admin) {
      errors.push({ field: `${prefix}sender`, message: "only administrators may name another sender" });
    }
    if (errors.length >= MAX_VIOLATIONS) break;
  }
  const [first] = errors;
  if (first !== undefined) {
    throw new TidingsError("forbidden", `Cannot send: ${first.field}: ${first.message}`, { errors });
  }
}

/** @throws {TidingsError} `too_large` */
function measure(publications: readonly CheckedPublication[]): { count: number; bytes: number } {
  let count = 0;
  let bytes = 0;
  for (const publication of publications) {
    count += publication.to.length;
    bytes += weigh(publication) * publication.to.length;
  }
  if (count > MAX_ROWS || bytes > MAX_EXPANDED_BYTES) {
    throw new TidingsError(
      "too_large",
      `Cannot send: it makes ${count} notifications of ${bytes} bytes together, and one request may make ${MAX_ROWS} of ` +
        `${MAX_EXPANDED_BYTES} bytes; send it in several requests`,
    );
  }
  return { count, bytes };
}

function toRow(publication: CheckedPublication, identity: Identity): BatchRow {
  const { to, collapseKey, dedupeKey, ttl, deliverAt, sender, ...rest } = publication;
  return {
    topics: to,
    ...rest,
    sender: sender ?? identity.user,
    ...(collapseKey === undefined ? {} : { collapse_key: collapseKey }),
    ...(dedupeKey === undefined ? {} : { dedupe_key: dedupeKey }),
    ...(ttl === undefined ? {} : { ttl: ttl / 1_000 }),
    ...(deliverAt === undefined ? {} : { deliver_at: deliverAt }),
  };
}

function fingerprint(said: unknown): string {
  return createHash("sha256").update(JSON.stringify(said)).digest("base64url");
}

function tooMany(wait: number): TidingsError {
  const retryAfter = Math.max(1, Math.ceil(wait));
  return new TidingsError(
    "too_many_requests",
    `Cannot send: this user has sent too much lately; try again in ${retryAfter} s`,
    { retryAfter },
  );
}
