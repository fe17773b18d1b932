import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { migrate, type Migration, readMigrations, unsuitable, whereIs } from "../../src/database/migrate.ts";
import { testCluster, testDatabase } from "../helpers/database.ts";
import { startError } from "../helpers/start_error.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";

function migration(id: number, text: string): Migration {
  const name = `${String(id).padStart(3, "0")}_step`;
  return { id, name, text, hash: createHash("sha256").update(text).digest("hex") };
}

Deno.test("migrate() applies what is missing, in order, and nothing twice", async () => {
  await using database = await testDatabase({ migrated: false });
  const one = migration(1, "create table public.a (id int); insert into public.a values (1);");
  const two = migration(2, "alter table public.a add column more text default 'x'; -- no newline at the end");
  assert.deepEqual(await migrate(database.url, [one]), ["001_step"]);
  assert.deepEqual(await migrate(database.url, [one, two]), ["002_step"]);
  assert.deepEqual(await migrate(database.url, [one, two]), []);
  assert.deepEqual([...await database.sql`select id, more from public.a`], [{ id: 1, more: "x" }]);
  const rows = await database
    .sql`select id, name, hash, applied_at <= now() as past from tidings.migration order by id`;
  assert.deepEqual([...rows], [one, two].map(({ id, name, hash }) => ({ id, name, hash, past: true })));
});

Deno.test("several gateways that start at once migrate once", async () => {
  await using database = await testDatabase({ migrated: false });
  // without `if not exists`: twice would fail
  const steps = [1, 2, 3, 4].map((id) =>
    migration(
      id,
      `create table public.t${id} (); select pg_sleep(0.05); create function tidings.f${id}() returns int
      language sql as 'select ${id}';`,
    )
  );
  const applied = await Promise.all(Array.from({ length: 8 }, () => migrate(database.url, steps)));
  assert.deepEqual(applied.flat().sort(), ["001_step", "002_step", "003_step", "004_step"]);
  const [{ count } = {}] = await database.sql`select count(*)::int from tidings.migration`;
  assert.equal(count, 4);
});

Deno.test("the program's own migrations apply to an empty database, by several at once", async () => {
  await using database = await testDatabase({ migrated: false });
  const all = (await readMigrations()).map(({ name }) => name);
  const applied = await Promise.all([migrate(database.url), migrate(database.url), migrate(database.url)]);
  assert.deepEqual(applied.flat().sort(), all);
});

Deno.test("a migration that fails leaves nothing of itself, and says where it failed", async () => {
  await using database = await testDatabase({ migrated: false });
  const good = migration(1, "create table public.a ();");
  const bad = migration(2, "create table public.b ();\n\nselect nothing from nowhere;\n");
  assert.equal(
    await startError(migrate(database.url, [good, bad])),
    'Cannot apply migration 002_step at line 3: relation "nowhere" does not exist',
  );
  const [seen] = await database
    .sql`select to_regclass('public.a') is not null as a, to_regclass('public.b') as b,
    (select max(id) from tidings.migration) as last`;
  assert.deepEqual({ ...seen }, { a: true, b: null, last: 1 });
  assert.deepEqual(await migrate(database.url, [good, migration(2, "create table public.b ()")]), [
    "002_step",
  ]);
});

Deno.test("functions of the schema are nobody's until they are granted", async () => {
  await using database = await testDatabase({ migrated: false });
  const makes = "create function tidings.open() returns int language sql as 'select 1';";
  await migrate(database.url, [migration(1, makes)]);
  const [seen] = await database.sql`select exists (
    select from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) as acl
    where pronamespace = 'tidings'::regnamespace and acl.grantee = 0) as public`;
  assert.deepEqual({ ...seen }, { public: false });
});

Deno.test("a database that is newer than the program is refused", async () => {
  await using database = await testDatabase({ migrated: false });
  await migrate(database.url, [migration(1, "select 1"), migration(2, "select 2")]);
  assert.equal(
    await startError(migrate(database.url, [migration(1, "select 1")])),
    "Cannot use the database: it is newer than this program (it has migration 002_step, this program ends with 001_step). " +
      "Start a newer version.",
  );
});

Deno.test("a migration whose text changed after it was applied is refused", async () => {
  await using database = await testDatabase({ migrated: false });
  await migrate(database.url, [migration(1, "select 1")]);
  assert.match(
    await startError(migrate(database.url, [migration(1, "select 'edited'")])),
    /^Cannot use the database: migration 001_step was applied from another text than this program's\./,
  );
});

Deno.test("a server in recovery is refused", async () => {
  await using server = await testCluster({ migrated: false });
  await server.demote();
  assert.equal(
    await startError(migrate(server.url())),
    "Cannot use the database: it is a standby in recovery, where cursors would lose notifications. " +
      "Point DATABASE_URL at the primary.",
  );
});

Deno.test("a server older than 14 is refused", () => {
  assert.equal(
    unsuitable({ version: 130_020, shown: "13.20", recovering: false }),
    "it is PostgreSQL 13.20, and Tidings needs 14 or newer. Upgrade the server.",
  );
  assert.equal(unsuitable({ version: 140_000, shown: "14.0", recovering: false }), undefined);
});

Deno.test("a database that cannot be reached is named without its password", async () => {
  await using database = await testDatabase({ migrated: false });
  const at = (change: Partial<URL>) => Object.assign(new URL(database.url), change).href;
  const here = whereIs(database.url);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const cases: [string, RegExp][] = [
    [at({ password: "hunter2" }), /the password is wrong\. Correct DATABASE_URL$/],
    [at({ pathname: "/hunter" }), /there is no database of that name\. Create it, or correct DATABASE_URL$/],
    [at({ port: String(port) }), /nothing listens there\. Start the server, or correct DATABASE_URL$/],
    [at({ hostname: "no-such-host.invalid" }), /there is no host of that name|cannot be looked up/],
  ];
  for (const [url, expected] of cases) {
    const line = await startError(migrate(url, []));
    assert.match(line, expected);
    assert.ok(!line.includes("hunter2") && !line.includes(`:${new URL(url).password}@`), line);
  }
  assert.match(await startError(migrate(at({ password: "x" }), [])), new RegExp(`at ${here}:`));
});

Deno.test("a user without rights is told what it lacks; one for whom the schema was made is not", async () => {
  await using database = await testDatabase({ migrated: false });
  const role = `role_${crypto.randomUUID().slice(0, 8)}`;
  await database.sql.unsafe(`create role ${role} login password 'secret'`);
  const url = Object.assign(new URL(database.url), { username: role, password: "secret" }).href;
  assert.match(
    await startError(migrate(url, [migration(1, "create table tidings.a ()")])),
    /this user may not create the schema tidings there\. Grant it CREATE on the database once$/,
  );
  await database.sql.unsafe(`grant create on database ${new URL(database.url).pathname.slice(1)} to ${role}`);
  assert.deepEqual(await migrate(url, [migration(1, "create table tidings.a ()")]), ["001_step"]);
  await database.sql.unsafe(`drop owned by ${role}; drop role ${role}`);
});

Deno.test("readMigrations() refuses a file without a number of its own", async () => {
  await using folder = await temporaryFolder("sql");
  const read = () => readMigrations(pathToFileURL(`${folder.path}/`));
  await writeFile(folder.at("001_one.sql"), "select 1;");
  await writeFile(folder.at("003_three.sql"), "select 3;");
  await writeFile(folder.at("README.md"), "not one");
  assert.deepEqual((await read()).map(({ id, name }) => [id, name]), [[1, "001_one"], [3, "003_three"]]);
  for (const name of ["003_tree.sql", "four.sql"]) {
    await writeFile(folder.at(name), "select 4;");
    assert.match(
      await startError(read()),
      /^Cannot read the migrations: \w+\.sql is not of the form NNN_name\.sql with a number of its own$/,
    );
    await rm(folder.at(name));
  }
});
