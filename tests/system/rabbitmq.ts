/**
 * A RabbitMQ of the test's own: Debian's `rabbitmq-server` with web-stomp, in a folder and on ports of its own, gone with it.
 * @module
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startCommand } from "../helpers/process.ts";

const SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/** A running broker. */
export interface RabbitMq extends AsyncDisposable {
  /** Where web-stomp listens. */
  url: string;
}

/** Starts one. Rejects with what to install where there is none. */
export async function startRabbitMq(): Promise<RabbitMq> {
  await Deno.stat(SERVER).catch((cause) => {
    throw new Error(`Cannot start RabbitMQ: there is no ${SERVER}; apt-get install rabbitmq-server`, {
      cause,
    });
  });
  const folder = await mkdtemp(join(tmpdir(), "tidings-rabbitmq-"));
  const [amqp = 0, distribution = 0, web = 0, stomp = 0, epmd = 0] = await freePorts(5);
  await mkdir(join(folder, "log"));
  await writeFile(
    join(folder, "rabbitmq.conf"),
    `listeners.tcp.1 = 127.0.0.1:${amqp}\nstomp.listeners.tcp.1 = 127.0.0.1:${stomp}\n` +
      `web_stomp.tcp.ip = 127.0.0.1\nweb_stomp.tcp.port = ${web}\n`,
  );
  await writeFile(join(folder, "plugins"), "[rabbitmq_web_stomp,rabbitmq_stomp].\n");
  const env = {
    HOME: folder,
    RABBITMQ_NODENAME: `tidings${web}@localhost`,
    RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
    RABBITMQ_LOG_BASE: join(folder, "log"),
    RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "plugins"),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_PID_FILE: join(folder, "pid"),
    ERL_EPMD_PORT: String(epmd),
    ERL_EPMD_ADDRESS: "127.0.0.1",
  };
  const broker = startCommand(SERVER, [], env, folder);
  await broker.until(/completed with \d+ plugins/);
  return {
    url: `ws://127.0.0.1:${web}/ws`,
    async [Symbol.asyncDispose]() {
      broker.signal("SIGTERM");
      await broker.ended;
      await startCommand("epmd", ["-kill"], env, folder).ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () =>
      new Promise<ReturnType<typeof createServer>>((resolve) => {
        const server = createServer();
        server.listen(0, "127.0.0.1", () => resolve(server));
      })),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
