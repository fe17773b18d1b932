import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { Validator } from "@seriousme/openapi-schema-validator";
import { ERRORS } from "../../src/errors.ts";
import { PATHS } from "../../src/protocol.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";

interface Operation {
  operationId?: string;
  summary?: string;
  tags?: string[];
  security?: unknown[];
  responses: Record<string, { description: string }>;
}

interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, unknown> };
}

/** A whole gateway's document, and what asks the gateway. */
async function described() {
  const database = await testDatabase();
  const gateway = await startGateway(database, { env: { TIDINGS_PRESENCE: "on" } });
  const document: Document = await (await fetch(`${gateway.url}/openapi.json`)).json();
  return {
    document,
    ask: (path: string, init: RequestInit) => fetch(gateway.url + path, init),
    async [Symbol.asyncDispose]() {
      await gateway.stop();
      await database[Symbol.asyncDispose]();
    },
  };
}

const GOLDEN = new URL("../golden/openapi.json", import.meta.url);

Deno.test("/openapi.json is the document that is kept here, and a valid one of OpenAPI 3.1", async () => {
  await using here = await described();
  // made anew with TIDINGS_TEST_GOLDEN=write
  if (Deno.env.get("TIDINGS_TEST_GOLDEN") === "write") {
    await writeFile(GOLDEN, `${JSON.stringify(here.document, null, 2)}\n`);
  }
  assert.deepEqual(here.document, JSON.parse(await readFile(GOLDEN, "utf8")));
  const validator = new Validator();
  const { valid, errors } = await validator.validate({ ...here.document });
  assert.ok(valid, JSON.stringify(errors));
  assert.equal(validator.version, "3.1");
});

Deno.test("every operation has a name of its own, says what it is and who may ask, and resolves its references", async () => {
  await using here = await described();
  const names = new Set<string>();
  for (const [path, item] of Object.entries(here.document.paths)) {
    for (const [method, { operationId, summary, tags, security, responses }] of Object.entries(item)) {
      const where = `${method} ${path}`;
      assert.ok(operationId !== undefined && summary !== undefined && tags?.length === 1, where);
      assert.ok(!names.has(operationId), where);
      names.add(operationId);
      const open = security === undefined;
      const refuses = "401" in responses;
      assert.equal(refuses, !open, `${where}: who needs a token is told so, and the other way round`);
      for (const [, code] of JSON.stringify(responses).matchAll(/`([a-z]+_[a-z_]+)`/g)) {
        if (code! in ERRORS) {
          assert.ok(String(ERRORS[code as keyof typeof ERRORS].status) in responses, `${where}: ${code}`);
        }
      }
    }
  }
  for (const [, name] of JSON.stringify(here.document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
    assert.ok(name! in here.document.components.schemas, `${name}`);
  }
});

Deno.test("every address of the protocol is described, with every method that it takes", async () => {
  await using here = await described();
  const paths = Object.keys(here.document.paths);
  for (const path of Object.values(PATHS)) {
    assert.ok(paths.some((known) => known === path || known.startsWith(`${path}/`)), path);
  }
  for (const path of ["/healthz", "/readyz", "/metrics"]) assert.ok(paths.includes(path), path);
  for (const path of paths) {
    const response = await here.ask(path.replaceAll(/\{\w+\}/g, "x"), { method: "PATCH" });
    await response.body?.cancel();
    assert.equal(response.status, 405, path);
    const taken = (response.headers.get("allow") ?? "").split(", ").filter((method) => method !== "HEAD");
    // an address may be another's with a parameter as well
    const described = paths.filter((known) => RegExp(`^${known.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(path))
      .flatMap((known) => Object.keys(here.document.paths[known]!)).map((method) => method.toUpperCase());
    assert.deepEqual(taken.sort(), [...new Set(described)].sort(), path);
  }
});
