/**
 * A gateway reduced to its scheduler, as a process of its own that a test can kill. Prints `ready`, then a line with the
 * count for every look that sent something.
 * @module
 */
import postgres from "postgres";
import { scheduler } from "../../src/schedule/scheduler.ts";
import { createScheduleStore } from "../../src/schedule/store.ts";

const sql = postgres(Deno.args[0] ?? "", { max: 2 });
const print = (line: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
await sql`select 1`;
await scheduler({ store: createScheduleStore(sql), batch: 20, onSent: (count) => print(String(count)) })
  .start();
print("ready");
