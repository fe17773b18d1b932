/**
 * HTTP by hand, over a bare socket: for tests that look at bytes, stop reading, or break off.
 * @module
 */
import net, { type Socket } from "node:net";

/** One connection. Disposing it breaks it off. */
export interface RawHttp extends AsyncDisposable {
  readonly socket: Socket;
  /** Everything that came so far: heads, chunk sizes and all. */
  readonly text: string;
  /** Resolves with the match as soon as what came matches; rejects when the connection ends before. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  /** Resolves with everything that came, when the connection has ended. */
  readonly closed: Promise<string>;
}

/** Sends a request of these lines to a gateway. */
export function rawHttp(url: string, request: string, headers: Record<string, string> = {}): RawHttp {
  const { port } = new URL(url);
  const socket = net.connect(Number(port), "127.0.0.1");
  let text = "";
  let over = false;
  let changed = Promise.withResolvers<void>();
  const change = () => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  socket.setEncoding("utf8");
  socket.on("data", (data) => {
    text += data;
    change();
  });
  // how it ended is seen in what came
  socket.on("error", () => {});
  const closed = new Promise<string>((resolve) =>
    socket.once("close", () => {
      over = true;
      resolve(text);
      change();
    })
  );
  const lines = Object.entries({ Host: "127.0.0.1", ...headers }).map(([name, value]) =>
    `${name}: ${value}\r\n`
  );
  socket.write(`${request}\r\n${lines.join("")}\r\n`);
  return {
    socket,
    closed,
    get text() {
      return text;
    },
    async until(pattern) {
      for (;;) {
        const found = pattern.exec(text);
        if (found !== null) return found;
        if (over) throw new Error(`It ended without ${pattern}:\n${text.slice(-2_000)}`);
        await changed.promise;
      }
    },
    async [Symbol.asyncDispose]() {
      socket.destroy();
      await closed;
    },
  };
}
