/**
 * The program's version, as in deno.json.
 * @module
 */

/** For the OpenAPI document. */
export const VERSION = "0.1.0";
