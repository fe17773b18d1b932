/**
 * The pushes in a database: what is due, what became of it, and how both read.
 * @module
 */
import type { Sql } from "postgres";
import type { Outcome } from "../../../src/push/provider.ts";
import { type Claim, createPushStore } from "../../../src/push/store.ts";

/** How long what is claimed is nobody else's; milliseconds. */
export const LEASE = 60_000;

/** Registers a device; its number. */
export async function device(
  sql: Sql,
  user: string,
  id: string,
  { kind = "webpush", silent = false, address = `https://push.example/${user}/${id}` } = {},
) {
  const [row] =
    await sql`select tidings.register_device(${user}, ${id}, ${kind}, ${address}, '{"k":"v"}'::jsonb, ${silent}, null) as number`;
  return row?.number as string;
}

/** Plans, and claims everything that is due now. */
export async function due(sql: Sql): Promise<Claim[]> {
  const store = createPushStore(sql);
  while (await store.plan(1_000, 0) !== 0);
  while (await store.fanOut(2, 0));
  return await store.claim(100, LEASE);
}

/** Settles each with this outcome; retried is what is due again at once. */
export async function settle(
  sql: Sql,
  claims: Claim[],
  outcome: Outcome = { kind: "sent", reason: "answered 201" },
) {
  for (const claim of claims) await createPushStore(sql).settle(claim, outcome, 0);
}

/** Whom the claims are for and what they say, sorted: `user/device title`. */
export const summary = (claims: Claim[]) =>
  claims.map(({ target, message }) => `${target.address.slice(21)} ${message.item.title}`).sort();

/** What became of pushes, by notification, device and time: `user device event reason`. */
export const trace = async (sql: Sql, where = "") =>
  (await sql.unsafe(
    `select user_id, device_id, event, reason from tidings.push_trace ${where} order by notification_id, device_id, at`,
  ))
    .map((row) => [row.user_id, row.device_id, row.event, row.reason].map((value) => value ?? "-").join(" "));
