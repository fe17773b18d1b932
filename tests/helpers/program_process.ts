/**
 * The program around a gateway that does nothing but answer, and takes as long to stop as its first argument says: `at-once` or
 * `never`. The second is the grace of the stop.
 * @module
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { runProgram } from "../../src/program.ts";

const [stops = "at-once", grace = "20000"] = Deno.args;

await runProgram(({ config, database }) => {
  const server = createServer((_request, response) => response.end("here\n"));
  return {
    name: "a gateway of a test",
    get url() {
      return `http://${config.http.host}:${(server.address() as AddressInfo).port}`;
    },
    start: () =>
      new Promise((resolve) => {
        server.listen(config.http.port, config.http.host, resolve);
        console.log(`database ${database.url}`);
      }),
    stop: () =>
      new Promise((resolve) => {
        console.log("stopping");
        if (stops === "at-once") server.close(() => resolve());
      }),
  };
}, Number(grace));
