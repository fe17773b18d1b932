/**
 * Turns pushes on and off for this browser, served as `/push.js`: permission, service worker, subscription, registration at the gateway.
 *
 * ```ts
 * button.onclick = () => enablePush({ getToken });
 * ```
 * @module
 */
import { type InboxChange, type InboxCount, PATHS } from "../protocol.ts";
import { call } from "./http.ts";
import { defaultStore, type KeyValueStore } from "./memory.ts";
import { httpOf, type ReachOptions } from "./options.ts";
import { TidingsClientError } from "./problem.ts";
import { workerStore } from "./worker_store.ts";

/** How to reach the gateway, and which worker to use. */
export interface PushOptions extends ReachOptions {
  /** The worker's address, of this page's own origin. @default "/worker.js" */
  worker?: string;
  /** This browser's name among the person's devices. @default one that is made up and kept */
  device?: string;
  /** Where that name is kept. @default localStorage */
  storage?: KeyValueStore;
}

/**
 * Asks for permission if need be (so call it on a click), subscribes and registers. Calling it again renews.
 * @throws TidingsClientError `push_unsupported`, `push_denied`, or what the gateway said
 */
export async function enablePush(options: PushOptions = {}): Promise<{ device: string }> {
  if (!("serviceWorker" in navigator) || !("PushManager" in globalThis) || !("Notification" in globalThis)) {
    throw new TidingsClientError(
      "push_unsupported",
      "Cannot enable pushes: this browser has none here (an insecure page, or on iOS one that is not on the home screen)",
    );
  }
  if (await Notification.requestPermission() !== "granted") {
    throw new TidingsClientError(
      "push_denied",
      "Cannot enable pushes: the person did not allow notifications",
    );
  }
  const http = httpOf(options);
  const device = deviceName(options);
  await navigator.serviceWorker.register(options.worker ?? "/worker.js");
  const registration = await navigator.serviceWorker.ready;
  const { applicationServerKey: key } = await call(
    http,
    "read the push key",
    "GET",
    `${PATHS.devices}/key`,
  ) as {
    applicationServerKey?: string;
  };
  if (key === undefined) {
    throw new TidingsClientError("push_unsupported", "Cannot enable pushes: the gateway has no VAPID keys");
  }
  const subscription = await subscribe(registration.pushManager, key);
  const answer = await call(http, "register the device", "PUT", `${PATHS.devices}/${device}`, {}, {
    kind: "webpush",
    ...subscription.toJSON(),
  }) as { token: string };
  await workerStore(indexedDB).keepIdentity({ base: http.base.href, token: answer.token });
  return { device };
}

/** Takes this browser out: no more pushes, also for whoever logs in next. */
export async function disablePush(options: PushOptions = {}): Promise<void> {
  const registration = await navigator.serviceWorker?.getRegistration(options.worker ?? "/worker.js");
  const subscription = await registration?.pushManager.getSubscription();
  await subscription?.unsubscribe();
  await workerStore(indexedDB).keepIdentity(undefined);
  try {
    await call(httpOf(options), "remove the device", "DELETE", `${PATHS.devices}/${deviceName(options)}`);
  } catch (error) {
    if (!(error instanceof TidingsClientError) || error.code !== "not_found") throw error;
  }
}

/** Tells the worker what was read: it takes it from the screen, and sets the badge. */
export async function clearPushed(ids: readonly string[], unread?: number): Promise<void> {
  await tellWorker({ ids, unread });
}

/** The part of a client that is used here. */
export interface InboxSource {
  on(
    event: "inbox",
    listener: (inbox: InboxCount & { changes?: InboxChange[] }) => void,
  ): () => void;
}

/**
 * Takes from the screen whatever is read while this page is open, here or on another device, and keeps the badge right:
 * `clearRead(connect({ … }))`. Returns how to cease.
 */
export function clearRead(client: InboxSource): () => void {
  return client.on("inbox", ({ unread, changes = [] }) => {
    const read = changes.filter(({ state }) => state === "read" || state === "archived");
    const tellings = read.length === 0
      ? [{ unread }]
      : read.map(({ ids, all, before }) => ({ ids, all, before, unread }));
    for (const telling of tellings) {
      tellWorker(telling).catch((error) => console.warn("Cannot take what was read from the screen:", error));
    }
  });
}

async function tellWorker(what: Record<string, unknown>): Promise<void> {
  const registration = await navigator.serviceWorker?.getRegistration();
  registration?.active?.postMessage({ tidings: "read", ...what });
}

/** A subscription is bound to the key that it was made with: under another key it is made anew. */
async function subscribe(manager: PushManager, key: string): Promise<PushSubscription> {
  const wanted = bytesOf(key);
  const known = await manager.getSubscription();
  if (known !== null) {
    const used = known.options.applicationServerKey;
    if (used !== null && sameBytes(new Uint8Array(used), wanted)) return known;
    await known.unsubscribe();
  }
  return await manager.subscribe({ userVisibleOnly: true, applicationServerKey: wanted });
}

function deviceName({ device, storage = defaultStore() }: PushOptions): string {
  if (device !== undefined) return device;
  const known = storage.getItem("tidings:device");
  if (known !== null) return known;
  const made = `browser-${crypto.randomUUID()}`;
  storage.setItem("tidings:device", made);
  return made;
}

function bytesOf(base64url: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
