/**
 * `deno task start`.
 * @module
 */
import { createGateway } from "./gateway.ts";
import { runProgram } from "./program.ts";

await runProgram(createGateway);
