import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { testCluster, testDatabase } from "./helpers/database.ts";
import { type Process, run, start } from "./helpers/process.ts";
import { temporaryFolder } from "./helpers/temporary_folder.ts";

const PROGRAM = "tests/helpers/program_process.ts";
const SECRET = "a secret of this test, long enough to be one";

/** An environment with a folder of its own. */
async function place() {
  const folder = await temporaryFolder("program");
  return { ...folder, env: { TIDINGS_DATA: folder.path, PORT: "0" } as Record<string, string> };
}

/** The one line with which the program refuses to start. */
async function refusal(env: Record<string, string>): Promise<string> {
  const { code, stderr, stdout } = await run(PROGRAM, [], env);
  assert.equal(code, 1, stdout + stderr);
  const lines = stderr.trimEnd().split("\n");
  assert.equal(lines.length, 1, stderr);
  return lines[0] ?? "";
}

async function answer(process: Process): Promise<string> {
  const [, url = ""] = await process.until(/Tidings is at (\S+)/);
  return await (await fetch(url)).text();
}

Deno.test("without any setting the program starts with a database, and a second start finds its data and its tokens", async () => {
  await using here = await place();
  const said: string[][] = [];
  for (let time = 0; time < 2; time++) {
    await using process = start(PROGRAM, [], here.env);
    assert.equal(await answer(process), "here\n");
    const [, database = ""] = await process.until(/database (\S+)/);
    await process.until(/psql "\$\(cat /);
    process.signal("SIGTERM");
    const { code, stderr, stdout } = await process.ended;
    assert.equal(code, 0, stdout + stderr);
    assert.equal(stderr, "");
    said.push([database, ...stdout.split("\n").filter((line) => /Applied|Making/.test(line))]);
  }
  const [first = [], second = []] = said;
  assert.equal(first[0], second[0]);
  assert.deepEqual([first.length, second.length], [3, 1]);
  assert.equal((await stat(here.at("dev_secret"))).mode & 0o777, 0o600);
});

Deno.test("a wrong setting stops the start with a line each", async () => {
  const { code, stderr } = await run(PROGRAM, [], { PORT: "x", TIDINGS_RETENTION: "y" });
  assert.equal(code, 1);
  assert.match(stderr, /^PORT="x": expected .*\nTIDINGS_RETENTION="y": expected .*\n$/);
});

Deno.test("a folder that another gateway holds is one line, which names its process", async () => {
  await using here = await place();
  await using holder = start(PROGRAM, [], here.env);
  await answer(holder);
  assert.match(
    await refusal(here.env),
    new RegExp(
      `^Cannot use the folder .*: another gateway holds it \\(pid ${holder.pid} on .*, since 2.*\\)`,
    ),
  );
  assert.equal(await answer(holder), "here\n");
});

Deno.test("a database that cannot be used is one line without its password", async () => {
  await using here = await place();
  await using database = await testDatabase({ migrated: false });
  const env = (change: Partial<URL>) => ({
    ...here.env,
    TIDINGS_JWT_SECRET: SECRET,
    DATABASE_URL: Object.assign(new URL(database.url), change).href,
  });
  assert.match(
    await refusal(env({ password: "hunter2" })),
    /^Cannot use the database at [^ ]*: the password is wrong/,
  );
  assert.match(await refusal(env({ port: "1" })), /^Cannot use the database at [^ ]*: nothing listens there/);
  assert.match(await refusal(env({ pathname: "/none" })), /: there is no database of that name/);
  await database.sql`create schema tidings`;
  await database
    .sql`create table tidings.migration (id int primary key, name text, hash text, applied_at timestamptz)`;
  await database.sql`insert into tidings.migration values (999, '999_tomorrow', '', now())`;
  assert.match(await refusal(env({})), /^Cannot use the database: it is newer than this program/);
});

Deno.test("a server in recovery is one line", async () => {
  await using here = await place();
  await using server = await testCluster({ migrated: false });
  await server.demote();
  assert.match(
    await refusal({ ...here.env, TIDINGS_JWT_SECRET: SECRET, DATABASE_URL: server.url() }),
    /^Cannot use the database: it is a standby in recovery/,
  );
});

Deno.test("a second signal ends a program whose stop does not come to an end, and one that came twice does not", async () => {
  await using here = await place();
  await using database = await testDatabase({ migrated: false });
  await using process = start(PROGRAM, ["never"], { ...here.env, DATABASE_URL: database.url });
  await answer(process);
  const begun = Date.now();
  process.signal("SIGINT");
  await process.until(/^stopping$/m);
  let code: number | undefined;
  process.ended.then((ended) => code = ended.code);
  while (code === undefined) {
    process.signal("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(code, 130);
  assert.ok(Date.now() - begun >= 300);
});

Deno.test("a stop that does not come to an end is cut short after its time", async () => {
  await using here = await place();
  await using database = await testDatabase({ migrated: false });
  const env = { ...here.env, DATABASE_URL: database.url, TIDINGS_DRAIN: "100ms" };
  await using process = start(PROGRAM, ["never", "100"], env);
  await answer(process);
  process.signal("SIGTERM");
  const { code, stderr } = await process.ended;
  assert.equal(code, 1);
  assert.equal(stderr, "Cannot stop in time: something was still open after 0.2 s\n");
});

Deno.test("outside of dev mode it prints no token, and logs JSON when it is not on a terminal", async () => {
  await using here = await place();
  await using database = await testDatabase({ migrated: false });
  const env = { ...here.env, TIDINGS_JWT_SECRET: SECRET, DATABASE_URL: database.url, HOST: "127.0.0.1" };
  await using process = start(PROGRAM, [], env);
  await process.until(/Listening on/);
  process.signal("SIGTERM");
  const { code, stdout } = await process.ended;
  assert.equal(code, 0);
  const logged = stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  assert.match(logged.map(({ message }) => message).join("\n"), /^Applied.*\nListening on .*\nStopping on/);
  assert.ok(!/eyJ|Bearer/.test(stdout), stdout);
});
