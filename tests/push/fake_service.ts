/**
 * A push service that records what it is asked and answers what it is told, on a loopback port of its own.
 * @module
 */
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";

/** What came in. */
export interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  body: Uint8Array;
}

/** What to answer. */
export interface Reply {
  status: number;
  headers?: Record<string, string>;
  body?: string;
}

/** A running fake. */
export interface FakeService extends AsyncDisposable {
  origin: string;
  received: Received[];
  /** Resolves when something more comes in. */
  next(): Promise<void>;
}

/** Starts one; `answer` decides about each request. */
export async function fakeService(
  answer: (request: Received) => Reply | Promise<Reply> = () => ({ status: 201 }),
): Promise<FakeService> {
  const received: Received[] = [];
  let came = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    const parts: Uint8Array[] = [];
    request.on("data", (part: Uint8Array) => parts.push(part));
    request.on("end", async () => {
      const seen = {
        path: request.url ?? "",
        headers: request.headers,
        body: new Uint8Array(Buffer.concat(parts)),
      };
      received.push(seen);
      came.resolve();
      came = Promise.withResolvers();
      const { status, headers, body } = await answer(seen);
      response.writeHead(status, headers);
      response.end(body);
    });
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    received,
    next: () => came.promise,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((closed) => server.close(() => closed()));
    },
  };
}
