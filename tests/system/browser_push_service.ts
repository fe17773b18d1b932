/**
 * Stands in for the push service that Chromium subscribes at: the check-in, the registration, the connection that pushes come down
 * (MCS), and the address that application servers post to. Chromium is told the addresses on its command line and does everything
 * else as it always does, decrypting included; nothing here ever holds a subscription's private key.
 *
 * The messages are those of Chromium's google_apis/gcm/protocol: checkin.proto, mcs.proto.
 * @module
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import tls from "node:tls";
import { certificate } from "../helpers/certificate.ts";
import { decodeFields, field, fixed64, frames, varint } from "./protobuf.ts";

/** A running one. */
export interface BrowserPushService extends AsyncDisposable {
  /** Where application servers post to. */
  origin: string;
  /** What Chromium has to be started with. */
  flags: string[];
  /** Requests of application servers so far: path, and the body as it came. */
  posted: { path: string; headers: Record<string, string>; body: Uint8Array }[];
}

/** Tags of MCS (mcs.proto, the version that begins a connection is 41). */
const MCS = {
  version: 41,
  heartbeatPing: 0,
  heartbeatAck: 1,
  loginRequest: 2,
  loginResponse: 3,
  dataMessage: 8,
};

/** Fields of its LoginRequest. */
const LOGIN = { id: 1, received: 10 };

interface Registration {
  app: string;
  subtype: string;
  sender: string;
}

/** Starts one on loopback ports of its own. */
export async function browserPushService(): Promise<BrowserPushService> {
  const { key, cert } = await certificate("localhost", "IP:127.0.0.1");
  const registrations = new Map<string, Registration>();
  const posted: BrowserPushService["posted"] = [];
  const messages = new Map<string, Buffer>();
  const sockets = new Set<tls.TLSSocket>();
  let current: tls.TLSSocket | undefined;

  const server = createServer(async (request, response) => {
    const body = await read(request);
    const path = request.url ?? "";
    if (path === "/checkin") {
      // stats_ok, time_msec, android_id, security_token
      const answer = [
        field(1, 1),
        field(3, Date.now()),
        fixed64(7, 5_123_456_789n),
        fixed64(8, 987_654_321n),
      ];
      response.writeHead(200, { "content-type": "application/x-protobuffer" }).end(Buffer.concat(answer));
    } else if (path === "/register") {
      const form = new URLSearchParams(body.toString());
      const token = `token-${registrations.size + 1}`;
      registrations.set(token, {
        app: form.get("app") ?? "",
        subtype: form.get("X-subtype") ?? "",
        sender: form.get("sender") ?? "",
      });
      response.writeHead(200, { "content-type": "text/plain" }).end(`token=${token}`);
    } else {
      const headers = Object.fromEntries(
        Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
      );
      posted.push({ path, headers, body });
      const registration = registrations.get(path.split("/").at(-1) ?? "");
      if (registration === undefined) return void response.writeHead(404).end();
      const id = `persistent-${messages.size + 1}`;
      const message = dataMessage(registration, body, id);
      messages.set(id, message);
      current?.write(message);
      response.writeHead(201).end();
    }
  });
  const mcs = tls.createServer({ key, cert }, (socket) => {
    sockets.add(socket);
    // Chromium hangs up when it is done
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    frames(socket, ({ tag, last }) => {
      if (tag === MCS.loginRequest) {
        const login = decodeFields(last);
        const id = login[LOGIN.id]?.[0] ?? "";
        const received = login[LOGIN.received] ?? [];
        socket.write(
          Buffer.concat([Buffer.from([MCS.version]), frame(MCS.loginResponse, [field(1, id)])]),
        );
        // Chromium connects anew when it likes, and says what it has by then
        current = socket;
        for (const [id, message] of messages) if (!received.includes(id)) socket.write(message);
      } else if (tag === MCS.heartbeatPing) socket.write(frame(MCS.heartbeatAck, []));
    });
  });
  const listen = (
    one: { listen(port: number, host: string, ready: () => void): unknown; address(): unknown },
  ) =>
    new Promise<number>((ready) =>
      one.listen(0, "127.0.0.1", () => ready((one.address() as AddressInfo).port))
    );
  const [port, mcsPort] = [await listen(server), await listen(mcs)];
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    posted,
    flags: [
      `--gcm-checkin-url=${origin}/checkin`,
      `--gcm-registration-url=${origin}/register`,
      `--gcm-mcs-endpoint=https://127.0.0.1:${mcsPort}`,
      // of the stand-in's certificate, which nobody signed
      "--ignore-certificate-errors",
    ],
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await Promise.all([
        new Promise((closed) => mcs.close(closed)),
        new Promise((closed) => server.close(closed)),
      ]);
    },
  };
}

/** DataMessageStanza with the encrypted body as it is. */
function dataMessage({ app, subtype, sender }: Registration, body: Uint8Array, id: string): Buffer {
  const entry = (key: string, value: string) => field(7, Buffer.concat([field(1, key), field(2, value)]));
  return frame(MCS.dataMessage, [
    field(3, sender),
    field(5, app),
    entry("subtype", subtype),
    entry("content-encoding", "aes128gcm"),
    field(9, id),
    field(17, 60),
    field(21, body),
  ]);
}

function frame(tag: number, fields: Buffer[]): Buffer {
  const payload = Buffer.concat(fields);
  return Buffer.concat([Buffer.from([tag]), varint(payload.length), payload]);
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}
