/**
 * A network path between a client and a gateway that behaves as badly as real ones do. Plain TCP, looked into only as far as a
 * proxy would.
 * @module
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** What the path does to what passes. Times in milliseconds. */
export interface Behaviour {
  /** Lets an upgrade be accepted and passes nothing after it. */
  muteAfterUpgrade?: boolean;
  /** Takes the upgrade's headers away, as a proxy does that knows none. */
  dropUpgrade?: boolean;
  /** Keeps each answer until it is whole. */
  buffer?: boolean;
  /** Cuts every connection after this time. */
  cutAfter?: number;
  /** Delays everything by this time. */
  delay?: number;
  /** Cuts each connection at a random moment, this late on average. */
  lossAfter?: number;
  chance?: () => number;
}

/** The path, while it is there. */
export class Path implements AsyncDisposable {
  readonly #target: URL;
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  behaviour: Behaviour;
  /** Connections that came. */
  connections = 0;
  /** Connections that were cut. */
  cuts = 0;

  private constructor(target: string, behaviour: Behaviour) {
    this.#target = new URL(target);
    this.behaviour = behaviour;
    this.#server = createServer((socket) => this.#pass(socket));
  }

  static async to(target: string, behaviour: Behaviour = {}): Promise<Path> {
    const path = new Path(target, behaviour);
    await new Promise<void>((resolve) => path.#server.listen(0, "127.0.0.1", resolve));
    return path;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #pass(client: Socket): void {
    const { behaviour } = this;
    const chance = behaviour.chance ?? Math.random;
    const gateway = connect(Number(this.#target.port), this.#target.hostname);
    const timers = new Set<ReturnType<typeof setTimeout>>();
    let [muted, upgraded] = [false, false];
    this.connections++;
    const later = (ms: number, run: () => void) => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        run();
      }, ms);
      timers.add(timer);
    };
    const end = () => {
      timers.forEach(clearTimeout);
      for (const socket of [client, gateway]) {
        this.#open.delete(socket);
        socket.destroy();
      }
    };
    for (const socket of [client, gateway]) {
      this.#open.add(socket);
      socket.setNoDelay(true);
      socket.on("error", end);
    }
    const forward = (to: Socket, data: Uint8Array) => {
      if (muted) return;
      if (behaviour.delay === undefined) to.write(data);
      else later(behaviour.delay, () => to.write(data));
    };
    client.on("data", (data: Buffer) => {
      const text = data.toString("latin1");
      upgraded ||= /^upgrade: websocket/im.test(text);
      if (!behaviour.dropUpgrade || !upgraded) return forward(gateway, data);
      forward(gateway, latin(text.replace(/^(upgrade|connection): .*\r\n/gim, "")));
    });
    const held: Uint8Array[] = [];
    gateway.on("data", (data: Buffer) => {
      if (behaviour.buffer) {
        held.push(data);
        // an answer that says how long it is can be whole; a stream never is
        const text = held.map((part) => new TextDecoder("latin1").decode(part)).join("");
        const length = /^content-length: (\d+)/im.exec(text)?.[1];
        const body = text.length - text.indexOf("\r\n\r\n") - 4;
        if (length === undefined || body < Number(length)) return;
        return held.splice(0).forEach((part) => forward(client, part));
      }
      if (behaviour.muteAfterUpgrade && upgraded && !muted) {
        const head = data.toString("latin1").split("\r\n\r\n")[0]!;
        forward(client, latin(`${head}\r\n\r\n`));
        muted = true;
        return;
      }
      forward(client, data);
    });
    client.on("close", end);
    gateway.on("close", () => behaviour.delay === undefined ? end() : later(behaviour.delay, end));
    const cut = () => {
      this.cuts++;
      end();
    };
    if (behaviour.cutAfter !== undefined) later(behaviour.cutAfter, cut);
    if (behaviour.lossAfter !== undefined) later(-Math.log(1 - chance()) * behaviour.lossAfter, cut);
  }
}

function latin(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}
