/**
 * The client's suite in Node: bundled by node_test.ts, told where to run by its arguments.
 * @module
 */
import { WebSocket as WebSocketOfNode } from "ws";
import { CASES, type Ground, perform } from "./suite.ts";

const [url = "", shaky = "", tokens = "", withWebSocket] = process.argv.slice(2);
const ground: Ground = {
  url,
  shaky,
  transports: withWebSocket === "ws" ? ["websocket", "sse", "longpoll"] : ["sse", "longpoll"],
  token: async (user, seconds = 600) =>
    await (await fetch(`${tokens}/?user=${user}&seconds=${seconds}`)).text(),
  ...(withWebSocket === "ws" ? { WebSocket: WebSocketOfNode as unknown as typeof WebSocket } : {}),
};
for (const promise of CASES) {
  await perform(promise, ground).then(
    () => console.log(`ok ${promise.name}`),
    (error) => console.log(`failed ${promise.name}: ${error?.stack}`),
  );
}
// nothing of the client keeps the process alive: it ends by itself
