/**
 * A process that starts the embedded database of a folder, says so, and then waits to be killed.
 * @module
 */
import { embedded } from "../../src/database/embedded.ts";

const [folder = ""] = Deno.args;
const database = embedded({ folder, notice: () => {} });
await database.start();
console.log(database.url);
