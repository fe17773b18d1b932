import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { ERRORS } from "../src/errors.ts";
import { LIMITS } from "../src/notification.ts";
import { CLOSE, EVENTS, PATHS, SUBPROTOCOL } from "../src/protocol.ts";
import { INLET } from "../src/transports/inlet.ts";
import { LIMIT, WAIT } from "../src/transports/longpoll.ts";
import { HEARTBEAT, MAX_TOPICS } from "../src/transports/negotiate.ts";
import { WEBSOCKET_LIMITS } from "../src/transports/websocket_limits.ts";

const root = new URL("../", import.meta.url);
const reference = await readFile(new URL("PROTOCOL.md", root), "utf8");
const source = await readFile(new URL("src/protocol.ts", root), "utf8");

/** The first cells of the rows of the table under a heading. */
function firstCells(heading: string): string[] {
  const [, section = ""] = reference.split(`\n### ${heading}\n`);
  const table = section.split(/\n##/)[0]!;
  return [...table.matchAll(/^\| `?([\w.]+)`? \|/gm)].map(([, cell]) => cell!).filter((cell) =>
    !["op", "code"].includes(cell)
  );
}

/** The operations of a union of frames. */
function ops(type: string): string[] {
  const [, body = ""] = source.split(`export type ${type} =`);
  return [...body.split(/;\n\n/)[0]!.matchAll(/\bop: "(\w+)"/g)].map(([, op]) => op!);
}

Deno.test("PROTOCOL.md has a row for every frame, and for no other", () => {
  assert.ok(ops("ServerFrame").length >= 9 && ops("ClientFrame").length >= 8);
  assert.deepEqual(firstCells("Frames from the server"), ops("ServerFrame"));
  assert.deepEqual(firstCells("Frames from the client"), ops("ClientFrame"));
});

Deno.test("PROTOCOL.md explains every close code, and no other", () => {
  const codes = Object.values(CLOSE).map(String).sort();
  assert.deepEqual(firstCells("Close codes").sort(), codes);
});

Deno.test("PROTOCOL.md names every event, the subprotocol and the feed's address", () => {
  for (const event of Object.values(EVENTS)) assert.ok(reference.includes(`| \`${event}\` |`), event);
  assert.ok(reference.includes(`\`${SUBPROTOCOL}\``));
  assert.ok(reference.includes(`GET ${PATHS.feed}?`));
});

Deno.test("PROTOCOL.md has the table of errors as it is", () => {
  const rows = Object.entries(ERRORS).map(([code, { status, close, title }]) =>
    `| \`${code}\` | ${status} | ${close} | ${title} |`
  );
  const [, table = ""] = reference.split("| code | status | closes with | |\n|---|---|---|---|\n");
  assert.deepEqual(table.split("\n\n")[0]!.trim().split("\n"), rows);
});

Deno.test("PROTOCOL.md has the numbers of the program", () => {
  const said = [
    `0 to ${WAIT.most} (${WAIT.usual})`,
    `1 to ${LIMIT.most} (${LIMIT.usual})`,
    `| topics that a session adds | ${MAX_TOPICS} |`,
    `| a topic | ${LIMITS.topic} characters`,
    `| a frame | ${WEBSOCKET_LIMITS.message / 1024} KiB; ${INLET.hello / 1024} KiB before the welcome |`,
    `| frames | ${INLET.burst} at once, ${INLET.rate} a second |`,
    `within ${WEBSOCKET_LIMITS.helloTimeout / 1000} s and ${INLET.hello / 1024} KiB`,
    `with every heartbeat (${HEARTBEAT} s)`,
  ];
  for (const text of said) assert.ok(reference.includes(text), text);
});
