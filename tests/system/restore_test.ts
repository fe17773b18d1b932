import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import postgres from "postgres";
import { runAs, serverAccount } from "../../src/database/binaries.ts";
import { type Cluster, cluster, initialise, THROW_AWAY } from "../../src/database/cluster.ts";
import { migrate } from "../../src/database/migrate.ts";
import { administer, throwAwayFolder } from "../helpers/cluster.ts";
import { startGateway } from "../helpers/gateway.ts";
import { Listener } from "../inbox/listener.ts";

/** Debian's, because pg_dump, pg_restore and pg_basebackup come with it. */
const BIN = "/usr/lib/postgresql/15/bin";

Deno.test("a dump restored into a younger cluster: clients are reset, the inbox is complete, new ones arrive", async () => {
  await using place = await Place.make();
  const old = await place.cluster("old");
  await prepare(old, 4_000);
  const before = await lived(old);
  await place.run("pg_dump", "--format=custom", `--file=${place.path("dump")}`, `--dbname=${old.url()}`);
  const young = await place.cluster("young");
  await administer(young.url("postgres"), (admin) => admin.unsafe("create database tidings"));
  await place.run("pg_restore", `--dbname=${young.url()}`, "--exit-on-error", place.path("dump"));
  await goesOn(young, before);
  const sql = postgres(young.url(), { max: 1, onnotice: () => {} });
  const [row] = await sql`select min(xid::text) as lowest from tidings.notification where id = ${before
    .ids[0]!}`;
  await sql.end();
  assert.equal(row!.lowest, "1", "it was the case of rows from the future");
});

Deno.test("a dump restored into an older cluster keeps its rows' order, and the inbox is complete", async () => {
  await using place = await Place.make();
  const old = await place.cluster("old");
  await prepare(old, 0);
  const before = await lived(old);
  await place.run("pg_dump", "--format=custom", `--file=${place.path("dump")}`, `--dbname=${old.url()}`);
  const other = await place.cluster("other");
  await administer(other.url("postgres"), (admin) => admin.unsafe("create database tidings"));
  await burn(other, 3_000, "postgres");
  await place.run("pg_restore", `--dbname=${other.url()}`, "--exit-on-error", place.path("dump"));
  await goesOn(other, before);
});

Deno.test("a promoted standby: clients are reset, the inbox is complete, new ones arrive", async () => {
  await using place = await Place.make();
  const primary = await place.cluster("primary", {
    wal_level: "replica",
    max_wal_senders: "4",
    hot_standby: "on",
  });
  await prepare(primary, 500);
  await place.run(
    "pg_basebackup",
    `--pgdata=${place.path("standby")}`,
    `--dbname=${primary.url("postgres")}`,
    "--write-recovery-conf",
    "--wal-method=stream",
    "--checkpoint=fast",
  );
  const standby = await place.start("standby", { hot_standby: "on" });
  const before = await lived(primary);
  const caughtUp = postgres(standby.url(), { max: 1, onnotice: () => {} });
  for (;;) {
    const rows = await caughtUp`select from tidings.notification where id = ${before.ids.at(-1)!}`;
    if (rows.length > 0) break;
  }
  await primary.crash();
  await caughtUp`select pg_promote(true)`;
  await caughtUp.end();
  await goesOn(standby, before);
});

interface Before {
  cursor: string;
  token: string;
  inbox: [string, string][];
  count: unknown;
  ids: string[];
}

async function prepare(server: Cluster, transactions: number): Promise<void> {
  await administer(server.url("postgres"), (admin) => admin.unsafe("create database tidings"));
  await migrate(server.url());
  await burn(server, transactions, "tidings");
}

/** Uses up transaction ids. */
async function burn(server: Cluster, transactions: number, database: string): Promise<void> {
  await administer(
    server.url(database),
    (admin) =>
      admin.unsafe(
        `do $$ begin for i in 1..${transactions} loop perform pg_current_xact_id(); commit; end loop; end $$`,
      ),
  );
}

/** Some life: marks while transactions are open that commit later, following and unfollowing meanwhile. */
async function lived(server: Cluster): Promise<Before> {
  const sql = postgres(server.url(), { max: 5, onnotice: () => {} });
  try {
    await using gateway = await startGateway({ url: server.url() });
    const token = await gateway.token("ada");
    const send = async (topic: string) =>
      (await sql<{ id: string }[]>`select tidings.send(${topic}) as id`)[0]!.id;
    const one = await send("user:ada");
    await send("user:ada");
    const late = await sql.reserve();
    await late`begin`;
    await late`select tidings.send('user:ada', 'late'), tidings.send('climb:1', 'late'), tidings.send('climb:2', 'late')`;
    await send("all");
    await sql`select tidings.mark('ada', array[${one}::bigint], 'archived')`;
    await sql`select tidings.follow('ada', 'climb:1'), tidings.follow('ada', 'climb:2')`;
    await send("climb:1");
    await send("climb:2");
    await sql`select tidings.mark_all('ada', 'read')`;
    await sql`select tidings.unfollow('ada', 'climb:2')`;
    const seen = await send("user:ada");
    await sql`select tidings.mark('ada', array[${seen}::bigint], 'seen')`;
    await late`commit`;
    late.release();
    await send("climb:2");
    await send("climb:1");
    await send("user:ada");
    const tab = await Listener.open(gateway.url, token, "?since=earliest");
    const inbox = await listing(sql);
    await tab.until(() => tab.items.some(({ id }) => id === inbox[0]![0]));
    const { cursor } = tab;
    await tab[Symbol.asyncDispose]();
    const [count] = await sql`select unread, unseen from tidings.inbox_count('ada')`;
    return { cursor, token, inbox, count: { ...count }, ids: inbox.map(([id]) => id) };
  } finally {
    await sql.end({ timeout: 2 });
  }
}

async function listing(sql: postgres.Sql): Promise<[string, string][]> {
  const [row] = await sql<{ rows: unknown[][] }[]>`
    select tidings.read_inbox('ada', '{unseen,seen,read,archived}', null, null, '9223372036854775807', 1, 100, 1000000) as rows`;
  // restored rows are in the order of their ids
  return row!.rows.map((entry): [string, string] => [String(entry[0]), String(entry[14])])
    .sort(([a], [b]) => Number(b) - Number(a));
}

async function goesOn(server: Cluster, before: Before): Promise<void> {
  const sql = postgres(server.url(), { max: 2, onnotice: () => {} });
  try {
    await using gateway = await startGateway({ url: server.url() });
    assert.deepEqual(await listing(sql), before.inbox);
    const [count] = await sql`select unread, unseen from tidings.inbox_count('ada')`;
    assert.deepEqual({ ...count }, before.count);
    await using tab = await Listener.open(gateway.url, before.token, `?since=${before.cursor}`);
    await tab.until(() => tab.resets.length > 0);
    assert.deepEqual(tab.resets, ["history"]);
    assert.deepEqual(tab.count, before.count);
    const fresh = (await sql<{ id: string }[]>`select tidings.send('climb:1', 'after') as id`)[0]!.id;
    await tab.until(() => tab.items.some(({ id }) => id === fresh));
    await sql`select tidings.send('climb:2', 'not followed any more')`;
    assert.equal((await listing(sql))[0]![0], fresh);
    assert.equal((await listing(sql))[0]![1], "unseen");
    await sql`select tidings.mark_all('ada', 'read')`;
    await tab.until(() => tab.count?.unread === 0);
  } finally {
    await sql.end({ timeout: 2 });
  }
}

/** A folder with clusters in it. */
class Place implements AsyncDisposable {
  readonly #folder: string;
  readonly #clusters: Cluster[] = [];

  static async make(): Promise<Place> {
    return new Place(await throwAwayFolder());
  }

  constructor(folder: string) {
    this.#folder = folder;
  }

  path(name: string): string {
    return join(this.#folder, name);
  }

  async cluster(name: string, settings: Record<string, string> = {}): Promise<Cluster> {
    await initialise({
      bin: BIN,
      data: this.path(name),
      password: "test",
      account: await serverAccount(),
      throwAway: true,
    });
    return await this.start(name, settings);
  }

  /** Starts a server over a data directory that is there. */
  async start(name: string, settings: Record<string, string> = {}): Promise<Cluster> {
    const server = cluster({
      bin: BIN,
      data: this.path(name),
      password: "test",
      account: await serverAccount(),
      settings: { ...THROW_AWAY, ...settings },
    });
    await server.start();
    this.#clusters.push(server);
    return server;
  }

  async run(program: string, ...args: string[]): Promise<void> {
    const { success, stderr } = await new Deno.Command(join(BIN, program), {
      args,
      cwd: this.#folder,
      ...runAs(await serverAccount()),
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#clusters) await one.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
