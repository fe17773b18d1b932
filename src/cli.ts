/**
 * The command line beside the server: `deno task docs`.
 * @module
 */
import { readFile, writeFile } from "node:fs/promises";
import { withTables } from "./reference.ts";
const readme = new URL("../README.md", import.meta.url);
await writeFile(readme, withTables(await readFile(readme, "utf8")));
