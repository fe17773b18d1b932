/**
 * A WebSocket client frame by frame, by `ws`: for tests of the protocol itself.
 * @module
 */
import { type ClientOptions, WebSocket } from "ws";
import type { ServerFrame } from "../../src/protocol.ts";

/** One connection. Disposing it breaks it off. */
export interface Dialled extends AsyncDisposable {
  readonly socket: WebSocket;
  /** Everything that came and was not taken. */
  readonly frames: ServerFrame[];
  /** Sends an object as JSON, a string as it is. */
  say(frame: object | string): void;
  /** Takes the next frame of this `op`, and drops what came before it. Rejects when the connection ends first. */
  next<Op extends ServerFrame["op"]>(op: Op): Promise<Extract<ServerFrame, { op: Op }>>;
  /** Sends with a `ref`, and takes the frame that brings it back. */
  ask(frame: object): Promise<ServerFrame>;
  /** How it ended. */
  readonly closed: Promise<{ code: number; reason: string }>;
}

/** Connects; `headers` and `protocols` as a test needs them. */
export async function dial(
  url: string,
  { protocols = [], ...options }: ClientOptions & { protocols?: string[] } = {},
): Promise<Dialled> {
  const address = new URL(url);
  address.protocol = "ws:";
  if (address.pathname === "/") address.pathname = "/v1/feed";
  const socket = new WebSocket(address, protocols, { perMessageDeflate: false, ...options });
  const frames: ServerFrame[] = [];
  let changed = Promise.withResolvers<void>();
  const change = () => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  let over = false;
  let refs = 0;
  socket.on("message", (data) => {
    frames.push(JSON.parse(String(data)));
    change();
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.on("close", (code, reason) => {
      over = true;
      resolve({ code, reason: String(reason) });
      change();
    })
  );
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  // what breaks later shows in `closed`
  socket.on("error", () => {});

  async function take(wanted: (frame: ServerFrame) => boolean, what: string): Promise<ServerFrame> {
    for (;;) {
      const at = frames.findIndex(wanted);
      if (at >= 0) return frames.splice(0, at + 1).at(-1)!;
      if (over) throw new Error(`It ended without ${what}: ${JSON.stringify(frames)}`);
      await changed.promise;
    }
  }

  return {
    socket,
    frames,
    closed,
    say: (frame) => socket.send(typeof frame === "string" ? frame : JSON.stringify(frame)),
    next: (op) => take((frame) => frame.op === op, op) as Promise<never>,
    ask(frame) {
      const ref = `ask ${refs++}`;
      socket.send(JSON.stringify({ ...frame, ref }));
      return take((answer) => "ref" in answer && answer.ref === ref, ref);
    },
    async [Symbol.asyncDispose]() {
      socket.terminate();
      await closed;
    },
  };
}
