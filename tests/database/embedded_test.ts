import assert from "node:assert/strict";
import { mkdir, readFile, realpath, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import postgres from "postgres";
import { type Embedded, embedded, type EmbeddedOptions } from "../../src/database/embedded.ts";
import { startError } from "../helpers/start_error.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";

const FAST = { fsync: "off", logging_collector: "off" };

/** A folder of one's own, and databases over it that are stopped with it. */
async function workspace() {
  const place = await temporaryFolder("embedded");
  const [parent, folder] = [place.path, place.at("data")];
  const made: Embedded[] = [];
  const notices: string[] = [];
  return {
    parent,
    folder,
    notices,
    database(options: Partial<EmbeddedOptions> = {}): Embedded {
      const one = embedded({
        folder,
        notice: (line) => notices.push(line),
        settings: FAST,
        outside: join(parent, "outside"),
        ...options,
      });
      made.push(one);
      return one;
    },
    async [Symbol.asyncDispose]() {
      for (const one of made) await one.stop();
      await place[Symbol.asyncDispose]();
    },
  };
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return (await sql.unsafe(text)).map((row) => ({ ...row }));
  } finally {
    await sql.end();
  }
}

Deno.test("a second start finds the data of the first, at the same address", async () => {
  await using space = await workspace();
  const first = space.database();
  await first.start();
  const { url } = first;
  await query(url, "create table kept as select 'yesterday' as day");
  await first.stop();

  const second = space.database();
  await second.start();
  assert.deepEqual(await query(second.url, "select day from kept"), [{ day: "yesterday" }]);
  assert.equal(second.url, url);
  assert.deepEqual(space.notices, ["Making the database; this happens once"]);
});

Deno.test("its password is random, kept for its owner's eyes only, and required", async () => {
  await using space = await workspace();
  const database = space.database();
  await database.start();
  const file = join(space.folder, "database_url");
  assert.equal((await readFile(file, "utf8")).trim(), database.url);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.match(new URL(database.url).password, /^[\w-]{32}$/);
  assert.equal(new URL(database.url).hostname, "127.0.0.1");
  const guess = Object.assign(new URL(database.url), { password: "guess" }).href;
  await assert.rejects(query(guess, "select 1"), { code: "28P01" });
});

Deno.test("a second gateway on the same folder is told who holds it, and since when", async () => {
  await using space = await workspace();
  await space.database().start();
  const since = new Date().toISOString().slice(0, 10);
  assert.match(
    await startError(space.database().start()),
    new RegExp(
      `Cannot use the folder .*: another gateway holds it \\(pid ${Deno.pid} on .*, since ${since}T.*Z\\)`,
    ),
  );
});

Deno.test("what a gateway left behind that was killed is recovered: data, server and postmaster.pid", async () => {
  await using space = await workspace();
  const killed = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-A",
      new URL("../helpers/embedded_process.ts", import.meta.url).pathname,
      space.folder,
    ],
    stdout: "piped",
  }).spawn();
  const output = killed.stdout.getReader();
  const { value } = await output.read();
  const url = new TextDecoder().decode(value).trim();
  await query(url, "create table kept as select 1 as n");
  killed.kill("SIGKILL");
  await killed.status;
  await output.cancel();

  const next = space.database();
  await next.start();
  assert.deepEqual(await query(next.url, "select n from kept"), [{ n: 1 }]);
});

Deno.test("a postmaster.pid whose number now belongs to another program does not stop the start", async () => {
  await using space = await workspace();
  const first = space.database();
  await first.start();
  const file = join(space.folder, "postgres", "postmaster.pid");
  const content = await readFile(file, "utf8");
  await first.stop();
  await writeFile(file, content.replace(/^\d+/, String(Deno.pid)));
  const second = space.database();
  await second.start();
  assert.deepEqual(await query(second.url, "select 1 as n"), [{ n: 1 }]);
});

Deno.test("a server that dies while the gateway runs is started again at the same address", async () => {
  await using space = await workspace();
  let told = () => {};
  const again = new Promise<void>((resolve) => told = resolve);
  const database = space.database({
    notice: (line) => {
      if (line === "The embedded PostgreSQL ended unasked and is started again") told();
    },
  });
  await database.start();
  await query(database.url, "create table kept as select 1 as n");
  const pid = Number(
    (await readFile(join(space.folder, "postgres", "postmaster.pid"), "utf8")).split("\n")[0],
  );
  Deno.kill(pid, "SIGKILL");
  await again;
  for (;;) {
    const rows = await query(database.url, "select n from kept").catch((error: { code?: string }) => {
      if (!/ECONNREFUSED|57P0|CONNECTION_/.test(error.code ?? "")) throw error;
    });
    if (rows === undefined) continue;
    assert.deepEqual(rows, [{ n: 1 }]);
    break;
  }
});

Deno.test("a first start that was interrupted leaves nothing that hinders the next", async () => {
  await using space = await workspace();
  await mkdir(join(space.folder, "postgres.new", "base"), { recursive: true });
  await writeFile(join(space.folder, "postgres.new", "PG_VERSION"), "18\n");
  const database = space.database();
  await database.start();
  assert.deepEqual(await query(database.url, "select 1 as n"), [{ n: 1 }]);
});

Deno.test("data that another version of PostgreSQL made are refused", async () => {
  await using space = await workspace();
  const first = space.database();
  await first.start();
  await first.stop();
  await writeFile(join(space.folder, "postgres", "PG_VERSION"), "17\n");
  assert.match(
    await startError(space.database().start()),
    /^Cannot use the database in .*: PostgreSQL 17 made it, and this program carries PostgreSQL 18\. Dump it/,
  );
});

Deno.test("data without their password are refused, and a start that failed holds nothing", async () => {
  await using space = await workspace();
  const first = space.database();
  await first.start();
  await first.stop();
  const file = join(space.folder, "database_url");
  const url = await readFile(file, "utf8");
  await rm(file);
  const failed = space.database();
  assert.match(
    await startError(failed.start()),
    /database_url cannot be read, and it holds the password\. Restore it\./,
  );
  await failed.stop();
  await writeFile(file, url);
  await space.database().start();
});

Deno.test("a folder that cannot be made is named", async () => {
  await using space = await workspace();
  await writeFile(join(space.parent, "file"), "");
  assert.match(
    await startError(space.database({ folder: join(space.parent, "file", "data") }).start()),
    /^Cannot make the folder .*\/file\/data: .*set TIDINGS_DATA\.$/,
  );
});

if (Deno.uid() === 0) {
  Deno.test("as root, where the server's account cannot reach the folder, the data are kept outside and found again", async () => {
    await using space = await workspace();
    const locked = join(space.parent, "locked");
    await mkdir(locked, { mode: 0o700 });
    const folder = join(locked, "data");
    const first = space.database({ folder });
    await first.start();
    await query(first.url, "create table kept as select 1 as n");
    await first.stop();
    const place = await realpath(join(folder, "postgres"));
    assert.ok(place.startsWith(join(space.parent, "outside")), place);
    assert.equal(
      space.notices.at(-1),
      `The database is kept in ${place}, and ${folder}/postgres is a link to it`,
    );

    const second = space.database({ folder });
    await second.start();
    assert.deepEqual(await query(second.url, "select n from kept"), [{ n: 1 }]);
  });

  Deno.test("as root, binaries that the server's account cannot reach are copied once", async () => {
    await using space = await workspace();
    const { carriedBinaries } = await import("../../src/database/binaries.ts");
    const locked = join(space.parent, "locked");
    await mkdir(locked, { mode: 0o700 });
    await new Deno.Command("cp", { args: ["-R", join(carriedBinaries(), ".."), join(locked, "native")] })
      .output();
    const database = space.database({ bin: join(locked, "native", "bin") });
    await database.start();
    assert.deepEqual(await query(database.url, "select 1 as n"), [{ n: 1 }]);
    await database.stop();
    await database.start();
    const copies = [...Deno.readDirSync(join(space.parent, "outside"))].map(({ name }) => name);
    assert.equal(copies.length, 1, copies.join());
  });
}
