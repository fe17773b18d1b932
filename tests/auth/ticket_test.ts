import assert from "node:assert/strict";
import type { Identity } from "../../src/auth/identity.ts";
import { createTickets, TICKET_TTL, type TicketStore } from "../../src/auth/ticket.ts";
import { createTicketStore, MAX_OPEN_TICKETS } from "../../src/auth/ticket_store.ts";
import { systemClock } from "../../src/clock.ts";
import { TidingsError } from "../../src/errors.ts";
import { testDatabase } from "../helpers/database.ts";
import { manualClock } from "../helpers/manual_clock.ts";

const ann: Identity = {
  user: "ann",
  subscribe: ["climb:*"],
  publish: ["climb:**"],
  admin: false,
  expiresAt: systemClock.now() + 3_600_000,
  issuedAt: systemClock.now() - 1_000,
};
const plain: Identity = { user: "bob", subscribe: [], publish: [], admin: false };

function ticketsOn(store: TicketStore) {
  return createTickets(store, { clock: systemClock });
}

/** The same store, with another time to live. */
function living(store: TicketStore, ttl: number): TicketStore {
  return { ...store, create: (hash, identity) => store.create(hash, identity, ttl) };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(() => assert.fail("it was accepted"), (reason) => reason);
  assert.ok(error instanceof TidingsError, String(error));
  return error.code;
}

Deno.test("a ticket made on one instance is redeemed on another, with everything its token said, and once", async () => {
  await using database = await testDatabase();
  const [one, other] = [createTicketStore(database.sql), createTicketStore(database.connect())];
  for (const identity of [ann, plain]) {
    const { ticket, expiresAt } = await ticketsOn(one).create(identity);
    assert.match(ticket, /^[\w-]{43}$/);
    const life = expiresAt.getTime() - systemClock.now();
    assert.ok(life > (TICKET_TTL - 20) * 1_000 && life <= TICKET_TTL * 1_000, String(life));
    assert.deepEqual(await ticketsOn(other).redeem(ticket), identity);
    assert.equal(await codeOf(ticketsOn(other).redeem(ticket)), "invalid_token");
    assert.equal(await codeOf(ticketsOn(one).redeem(ticket)), "invalid_token");
  }
});

Deno.test("of many connections that redeem one ticket at the same time exactly one gets in", async () => {
  await using database = await testDatabase();
  const stores = [database.connect({ max: 8 }), database.connect({ max: 8 })].map(createTicketStore);
  for (let round = 0; round < 10; round++) {
    const { ticket } = await ticketsOn(stores[0]!).create(ann);
    const results = await Promise.allSettled(
      Array.from({ length: 16 }, (_, index) => ticketsOn(stores[index % 2]!).redeem(ticket)),
    );
    const refusals = results.filter((result) => result.status === "rejected");
    assert.equal(refusals.length, 15);
    assert.ok(refusals.every(({ reason }) => reason.code === "invalid_token"));
  }
});

Deno.test("a redeemer that waits for another's transaction gets nothing once that has committed", async () => {
  await using database = await testDatabase();
  const first = database.connect({ max: 1 });
  const second = database.connect({ max: 1 });
  const watcher = createTicketStore(second);
  const { ticket } = await ticketsOn(createTicketStore(database.sql)).create(ann);
  await first`begin`;
  assert.deepEqual(await ticketsOn(createTicketStore(first)).redeem(ticket), ann);
  const [{ pid } = assert.fail()] = await second<{ pid: number }[]>`select pg_backend_pid() as pid`;
  let settled = false;
  const waiting = codeOf(ticketsOn(watcher).redeem(ticket)).finally(() => settled = true);
  let blocked = false;
  while (!blocked) {
    assert.equal(settled, false, "the second redeemer has to wait for the first");
    const rows = await database
      .sql`select 1 from pg_stat_activity where pid = ${pid} and wait_event_type = 'Lock'`;
    blocked = rows.length === 1;
  }
  await first`commit`;
  assert.equal(await waiting, "invalid_token");
});

Deno.test("a ticket that has expired is refused", async () => {
  await using database = await testDatabase();
  const store = createTicketStore(database.sql);
  const { ticket } = await ticketsOn(living(store, 0)).create(ann);
  assert.equal(await codeOf(ticketsOn(store).redeem(ticket)), "invalid_token");
});

Deno.test("a ticket ends when its token would have ended", async () => {
  await using database = await testDatabase();
  const clock = manualClock(systemClock.now());
  const tickets = createTickets(createTicketStore(database.sql), { clock });
  const { ticket } = await tickets.create({ ...ann, expiresAt: clock.now() + 10_000 });
  clock.advance(10_000);
  assert.equal(await codeOf(tickets.redeem(ticket)), "token_expired");
});

Deno.test("what does not look like a ticket never reaches the store", async () => {
  const never = () => Promise.reject(new Error("the store was asked"));
  const tickets = createTickets({ create: never, redeem: never }, { clock: systemClock });
  for (
    const ticket of ["", "x", "x".repeat(42), "x".repeat(44), "x".repeat(100_000), "'; drop table".padEnd(43)]
  ) {
    assert.equal(await codeOf(tickets.redeem(ticket)), "invalid_token");
  }
});

Deno.test("only the hash is stored: the table lets nobody in", async () => {
  await using database = await testDatabase();
  const tickets = ticketsOn(createTicketStore(database.sql));
  const { ticket } = await tickets.create(ann);
  const [{ row, hex } = assert.fail()] = await database.sql<{ row: string; hex: string }[]>`
    select t::text as row, encode(hash, 'hex') as hex from tidings.ticket t`;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(ticket));
  assert.equal(hex, new Uint8Array(digest).toHex());
  assert.ok(!row.includes(ticket));
  assert.equal(await codeOf(tickets.redeem(hex)), "invalid_token");
});

Deno.test("a user has a bounded number of tickets, however many are asked for at once, and others are not touched", async () => {
  await using database = await testDatabase();
  const stores = [database.connect({ max: 8 }), database.connect({ max: 8 })].map(createTicketStore);
  const results = await Promise.allSettled(
    Array.from({ length: MAX_OPEN_TICKETS + 20 }, (_, index) => ticketsOn(stores[index % 2]!).create(ann)),
  );
  const made = results.filter((result) => result.status === "fulfilled");
  const refusals = results.filter((result) => result.status === "rejected");
  assert.equal(made.length, MAX_OPEN_TICKETS);
  assert.ok(
    refusals.every(({ reason }) =>
      reason.code === "too_many_requests" && reason.details.retryAfter === TICKET_TTL
    ),
  );
  const tickets = ticketsOn(stores[0]!);
  await tickets.create(plain);
  // one that is used makes room
  await tickets.redeem(made[0]!.value.ticket);
  await tickets.create(ann);
  assert.equal(await codeOf(tickets.create(ann)), "too_many_requests");
});

Deno.test("tickets that expired do not count, and are cleared away by those that follow", async () => {
  await using database = await testDatabase();
  const store = createTicketStore(database.sql);
  const ended = ticketsOn(living(store, 0));
  for (let i = 0; i < MAX_OPEN_TICKETS + 5; i++) await ended.create(ann);
  await ticketsOn(store).create(ann);
  const [{ count } = assert.fail()] = await database.sql<{ count: number }[]>`
    select count(*)::int as count from tidings.ticket`;
  assert.equal(count, 1);
});

Deno.test("a role that may send can neither make nor redeem tickets", async () => {
  await using database = await testDatabase();
  const role = `sender_${crypto.randomUUID().replaceAll("-", "")}`;
  const { sql } = database;
  await sql.unsafe(`create role ${role}`);
  try {
    await sql`select tidings.allow_sending(${role})`;
    const own = database.connect({ max: 1 });
    await own.unsafe(`set role ${role}`);
    await own`select tidings.send('all', 'allowed')`;
    const store = createTicketStore(own);
    await assert.rejects(ticketsOn(store).create({ ...plain, admin: true }), /permission denied/);
    await assert.rejects(store.redeem(new Uint8Array(32)), /permission denied/);
    await assert.rejects(own`select * from tidings.ticket`, /permission denied/);
  } finally {
    await sql.unsafe(`drop owned by ${role}`);
    await sql.unsafe(`drop role ${role}`);
  }
});

Deno.test("the database refuses a ticket of another shape", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const create = (hash: Uint8Array, claims: unknown, ttl: string) =>
    sql`select tidings.create_ticket(${hash}::bytea, ${
      JSON.stringify(claims)
    }::text::jsonb, ${ttl}::text::interval, 5)`;
  await assert.rejects(create(new Uint8Array(31), plain, "30 s"), /hash: 32 bytes/);
  await assert.rejects(
    create(new Uint8Array(32), { ...plain, pad: "x".repeat(33_000) }, "30 s"),
    /claims: at most/,
  );
  await assert.rejects(create(new Uint8Array(32), plain, "1 hour"), /ttl must be at most 5 minutes/);
  await assert.rejects(create(new Uint8Array(32), {}, "30 s"), /user_id/);
});
