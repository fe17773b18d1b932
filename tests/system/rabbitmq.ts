/**
 * A RabbitMQ of the test's own: Debian's `rabbitmq-server` with web-stomp, in a folder and on ports of its own, gone with it.
 * @module
 */
import { mkdir, writeFile } from "node:fs/promises";
import { freePorts } from "../helpers/port.ts";
import { startCommand } from "../helpers/process.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";

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
  const folder = await temporaryFolder("rabbitmq");
  const [amqp = 0, distribution = 0, web = 0, stomp = 0, epmd = 0] = freePorts(5);
  await mkdir(folder.at("log"));
  await writeFile(
    folder.at("rabbitmq.conf"),
    `listeners.tcp.1 = 127.0.0.1:${amqp}\nstomp.listeners.tcp.1 = 127.0.0.1:${stomp}\n` +
      `web_stomp.tcp.ip = 127.0.0.1\nweb_stomp.tcp.port = ${web}\n`,
  );
  await writeFile(folder.at("plugins"), "[rabbitmq_web_stomp,rabbitmq_stomp].\n");
  const env = {
    HOME: folder.path,
    RABBITMQ_NODENAME: `tidings${web}@localhost`,
    RABBITMQ_MNESIA_BASE: folder.at("mnesia"),
    RABBITMQ_LOG_BASE: folder.at("log"),
    RABBITMQ_CONFIG_FILE: folder.at("rabbitmq"),
    RABBITMQ_ENABLED_PLUGINS_FILE: folder.at("plugins"),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_PID_FILE: folder.at("pid"),
    ERL_EPMD_PORT: String(epmd),
    ERL_EPMD_ADDRESS: "127.0.0.1",
  };
  const broker = startCommand(SERVER, [], env, folder.path);
  await broker.until(/completed with \d+ plugins/);
  return {
    url: `ws://127.0.0.1:${web}/ws`,
    async [Symbol.asyncDispose]() {
      broker.signal("SIGTERM");
      await broker.ended;
      await startCommand("epmd", ["-kill"], env, folder.path).ended;
      await folder[Symbol.asyncDispose]();
    },
  };
}
