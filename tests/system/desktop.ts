/**
 * A desktop's notification service, on a D-Bus of its own, for a browser to show its notifications on, and a hand that clicks
 * them: https://specifications.freedesktop.org/notification-spec/latest/
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import dbus from "@homebridge/dbus-native";
import { temporaryFolder } from "../helpers/temporary_folder.ts";

/** What is on the screen. */
export interface DesktopNotification {
  id: number;
  summary: string;
  body: string;
}

/** A running desktop. */
export interface Desktop extends AsyncDisposable {
  /** The environment that makes a program show its notifications here. */
  env: Record<string, string>;
  /** What is on the screen, oldest first. */
  shown: DesktopNotification[];
  /** Resolves with the first notification of this summary, as soon as it is on the screen; rejects after a minute. */
  until(summary: string): Promise<DesktopNotification>;
  /** Clicks it, as somebody does with a mouse. */
  click(notification: DesktopNotification): void;
}

/** What is used of the library: its own declarations know half of it. */
interface Library {
  sessionBus(options: { busAddress: string }): {
    connection: { end(): void };
    exportInterface(service: Record<string, unknown>, path: string, definition: typeof INTERFACE): void;
    requestName(name: string, flags: number, done: (error: Error | null | undefined) => void): void;
    sendSignal(path: string, name: string, member: string, signature: string, body: unknown[]): void;
  };
}

/** The interface, as D-Bus writes types: u uint32, i int32, s text, a list, a{sv} a map of anything. */
const INTERFACE = {
  name: "org.freedesktop.Notifications",
  methods: {
    GetCapabilities: ["", "as"],
    GetServerInformation: ["", "ssss"],
    Notify: ["susssasa{sv}i", "u"],
    CloseNotification: ["u", ""],
  },
  signals: { ActionInvoked: ["us"], NotificationClosed: ["uu"] },
};
const PATH = "/org/freedesktop/Notifications";
/** After which a test ends instead of waiting. */
const LATE_MS = 60_000;
/** Why one was closed: by a call. */
const CLOSED_BY_CALL = 3;

/** Starts one. */
export async function desktop(): Promise<Desktop> {
  const folder = await temporaryFolder("desktop");
  const address = `unix:path=${folder.at("bus")}`;
  await writeFile(
    folder.at("bus.conf"),
    `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
       "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
     <busconfig><type>session</type><listen>${address}</listen><auth>EXTERNAL</auth>
       <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
     </busconfig>`,
  );
  const daemon = spawn("dbus-daemon", [
    `--config-file=${folder.at("bus.conf")}`,
    "--nofork",
    "--print-address",
  ], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  await once(daemon.stdout, "data");

  const shown: DesktopNotification[] = [];
  const waiting = new Map<string, (notification: DesktopNotification) => void>();
  let ids = 0;
  const bus = (dbus as unknown as Library).sessionBus({ busAddress: address });
  const signal = (name: "ActionInvoked" | "NotificationClosed", id: number, more: string | number) =>
    bus.sendSignal(PATH, INTERFACE.name, name, INTERFACE.signals[name][0] ?? "", [id, more]);
  const service = {
    GetCapabilities: () => ["actions", "body", "body-markup", "body-hyperlinks", "persistence"],
    GetServerInformation: () => ["Tests", "Tidings", "1.0", "1.2"],
    Notify(_app: string, replaces: number, _icon: string, summary: string, body: string) {
      const known = shown.find(({ id }) => id === replaces);
      const notification = known === undefined
        ? { id: ++ids, summary, body }
        : Object.assign(known, { summary, body });
      if (known === undefined) shown.push(notification);
      waiting.get(summary)?.(notification);
      return notification.id;
    },
    CloseNotification(id: number) {
      const at = shown.findIndex((one) => one.id === id);
      if (at >= 0) shown.splice(at, 1);
      signal("NotificationClosed", id, CLOSED_BY_CALL);
    },
  };
  bus.exportInterface(service, PATH, INTERFACE);
  await new Promise<void>((done, fail) =>
    bus.requestName(INTERFACE.name, 0, (error) => error ? fail(error) : done())
  );

  return {
    env: { DBUS_SESSION_BUS_ADDRESS: address },
    shown,
    until: (summary) =>
      new Promise((done, fail) => {
        const there = shown.find((one) => one.summary === summary);
        if (there !== undefined) return done(there);
        const late = setTimeout(
          () => fail(new Error(`"${summary}" was not shown within ${LATE_MS} ms`)),
          LATE_MS,
        );
        waiting.set(summary, (notification) => {
          clearTimeout(late);
          done(notification);
        });
      }),
    click: ({ id }) => signal("ActionInvoked", id, "default"),
    async [Symbol.asyncDispose]() {
      bus.connection.end();
      daemon.kill("SIGKILL");
      await once(daemon, "close");
      await folder[Symbol.asyncDispose]();
    },
  };
}
