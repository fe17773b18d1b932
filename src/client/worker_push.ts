/**
 * What the service worker does with a push, a click, a changed subscription and a word from a page.
 *
 * Invariants: every push shows something, as browsers demand, unless it was shown before or only takes back; a repeat of a
 * push is known by its id; what fails beside showing (fetching, telling the gateway) never keeps a notification from the screen.
 * @module
 */
import { type Clock, systemClock } from "../clock.ts";
import type { Item } from "../notification.ts";
import { DEVICE_HEADER, PATHS, type PushPayload } from "../protocol.ts";
import type { DeviceIdentity, WorkerStore } from "./worker_store.ts";

/** A notification on the screen, as the worker uses it. */
export interface ShownNotification {
  readonly data: unknown;
  close(): void;
}

/** A page, as the worker uses it. */
export interface Page {
  readonly url: string;
  focus(): Promise<unknown>;
  navigate(url: string): Promise<unknown>;
  postMessage(message: unknown): void;
}

/** An event of the worker. */
export interface WorkerEvent extends Event {
  readonly data: { text(): string } | null;
  readonly notification: ShownNotification;
  readonly oldSubscription?: PushSubscription | null;
  readonly newSubscription?: PushSubscription | null;
  waitUntil(work: Promise<unknown>): void;
}

/** The part of ServiceWorkerGlobalScope that is used. */
export interface WorkerScope {
  readonly registration: {
    readonly scope: string;
    readonly pushManager: { subscribe(options: PushSubscriptionOptionsInit): Promise<PushSubscription> };
    showNotification(title: string, options: Record<string, unknown>): Promise<void>;
    getNotifications(): Promise<ShownNotification[]>;
  };
  readonly clients: {
    claim(): Promise<void>;
    matchAll(options: { type: "window"; includeUncontrolled: true }): Promise<Page[]>;
    openWindow(url: string): Promise<unknown>;
  };
  readonly navigator?: { setAppBadge?(count: number): Promise<void>; clearAppBadge?(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(name: string, run: (event: WorkerEvent) => void): void;
}

/** What a worker needs. */
export interface PushWorkerOptions {
  scope: WorkerScope;
  store: WorkerStore;
  fetch: typeof fetch;
  clock?: Clock;
}

/** What it does; each resolves when all of it is done, and rejects only when nothing could be shown. */
export interface PushWorker {
  push(text: string): Promise<void>;
  click(notification: ShownNotification): Promise<void>;
  renew(event: Pick<WorkerEvent, "oldSubscription" | "newSubscription">): Promise<void>;
  /** From a page: `{tidings: "device", base, token}`, `{tidings: "forget"}`, `{tidings: "read", ids | all | before, unread}`. */
  message(data: unknown): Promise<void>;
}

/** What is kept with a notification on the screen. */
interface Kept {
  tidings: 1;
  ids: string[];
  link?: string;
  item: Item;
}

/** What was read: some, all, or everything up to and including one. */
interface Taken {
  ids?: readonly string[] | undefined;
  all?: true | undefined;
  before?: string | undefined;
}

const FETCH_MS = 5_000;
const ASK_MS = 15_000;

/** Makes the worker. */
export function pushWorker({ scope, store, fetch, clock = systemClock }: PushWorkerOptions): PushWorker {
  const busy = new Set<string>();

  async function push(text: string): Promise<void> {
    const payload = parse(text);
    if (payload === undefined) {
      // something has to be shown, or the browser shows words of its own
      return await scope.registration.showNotification("You have a new notification", {
        tag: "tidings:unknown",
      });
    }
    const tidy = Promise.allSettled([takeBack({ ids: payload.read }), badge(payload.unread)]);
    if (payload.kind === "notify") await show(payload);
    await tidy;
  }

  async function show(payload: PushPayload): Promise<void> {
    const { id } = payload.item;
    if (busy.has(id)) return;
    busy.add(id);
    try {
      if (await store.wasShown(id).catch(() => false)) return;
      const ids = payload.ids ?? [id];
      const item = payload.cut === undefined || ids.length > 1 ? payload.item : await whole(payload.item);
      const { title, options } = appearance(item, ids);
      await scope.registration.showNotification(title, options);
      await Promise.allSettled([
        store.keepShown(ids, clock.now()),
        ask("POST", "shown", { ids: ids.slice(-100) }),
        tellPages({ tidings: "push", item }),
      ]);
    } finally {
      busy.delete(id);
    }
  }

  /** The item without its cuts; as it came when it cannot be had in time. */
  async function whole(item: Item): Promise<Item> {
    try {
      const answer = await ask("GET", `notifications?ids=${item.id}`, undefined, FETCH_MS);
      const { items } = await answer?.json() as { items: Item[] };
      return items.find(({ id }) => id === item.id) ?? item;
    } catch {
      return item; // the beginning of a text is better than silence
    }
  }

  async function click(notification: ShownNotification): Promise<void> {
    notification.close();
    const kept = notification.data as Partial<Kept> | null;
    if (kept?.tidings !== 1 || kept.ids === undefined) return await open(scope.registration.scope);
    const marked = markRead(kept.ids);
    await open(new URL(kept.link ?? "", scope.registration.scope).href);
    await marked;
  }

  async function markRead(ids: string[]): Promise<void> {
    try {
      const answer = await ask("POST", "mark", { ids: ids.slice(-100), state: "read" });
      if (answer === undefined) return await tellPages({ tidings: "mark", ids, state: "read" });
      const { unread } = await answer.json() as { unread: number };
      await badge(unread);
    } catch {
      // a page that is open can still do it
      await tellPages({ tidings: "mark", ids, state: "read" });
    }
  }

  /** Focuses the page that shows it, or takes one there, or opens one. */
  async function open(url: string): Promise<void> {
    const pages = await scope.clients.matchAll({ type: "window", includeUncontrolled: true });
    const there = pages.find((page) => page.url === url);
    if (there !== undefined && await worked(there.focus())) return;
    const near = pages.find((page) => new URL(page.url).origin === new URL(url).origin);
    if (near !== undefined) {
      await worked(near.focus());
      // a page that this worker does not control cannot be taken anywhere
      if (await worked(near.navigate(url))) return;
    }
    await worked(scope.clients.openWindow(url));
  }

  async function renew(
    { oldSubscription, newSubscription }: Pick<WorkerEvent, "oldSubscription" | "newSubscription">,
  ) {
    const options = oldSubscription?.options;
    const fresh = newSubscription ??
      (options === undefined ? undefined : await scope.registration.pushManager.subscribe({
        userVisibleOnly: true,
        applicationServerKey: options.applicationServerKey,
      }));
    if (fresh === undefined) return await tellPages({ tidings: "renew" });
    await ask("PUT", "subscription", fresh.toJSON());
  }

  async function message(data: unknown): Promise<void> {
    const said = data as
      | ({ tidings?: string; unread?: number; base?: string; token?: string } & Partial<Taken>)
      | null;
    switch (said?.tidings) {
      case "device":
        if (said.base !== undefined && said.token !== undefined) {
          await store.keepIdentity({ base: said.base, token: said.token });
        }
        return;
      case "forget":
        return await store.keepIdentity(undefined);
      case "read":
        await Promise.allSettled([takeBack(said), badge(said.unread)]);
    }
  }

  /** Closes what is on the screen and stands only for what was read. */
  async function takeBack({ ids = [], all, before }: Taken): Promise<void> {
    if (ids.length === 0 && all !== true && before === undefined) return;
    const read = new Set(ids);
    const covers = (id: string) =>
      all === true || read.has(id) || (before !== undefined && BigInt(id) <= BigInt(before));
    for (const shown of await scope.registration.getNotifications()) {
      const kept = shown.data as Partial<Kept> | null;
      if (kept?.tidings === 1 && kept.ids?.every(covers)) shown.close();
    }
  }

  async function badge(unread: number | undefined): Promise<void> {
    if (unread === undefined) return;
    const { navigator } = scope;
    await (unread > 0 ? navigator?.setAppBadge?.(unread) : navigator?.clearAppBadge?.());
  }

  async function tellPages(what: unknown): Promise<void> {
    for (const page of await scope.clients.matchAll({ type: "window", includeUncontrolled: true })) {
      page.postMessage(what);
    }
  }

  /** Asks the gateway as this device. Undefined: it does not know who it is. Throws when the gateway says no. */
  async function ask(
    method: string,
    path: string,
    body?: unknown,
    ms = ASK_MS,
  ): Promise<Response | undefined> {
    const identity: DeviceIdentity | undefined = await store.identity().catch(() => undefined);
    if (identity === undefined) return undefined;
    const late = new AbortController();
    const cancel = clock.after(ms, () => late.abort());
    const response = await fetch(new URL(`${PATHS.worker.slice(1)}/${path}`, identity.base), {
      method,
      credentials: "omit",
      headers: {
        [DEVICE_HEADER]: identity.token,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      signal: late.signal,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).finally(cancel);
    if (!response.ok) throw new Error(`The gateway answered ${response.status}`);
    return response;
  }

  return { push, click, renew, message };
}

/** How an item looks on the screen. Those of one collapse key replace each other. */
export function appearance(
  item: Item,
  ids: readonly string[],
): { title: string; options: Record<string, unknown> } {
  const { title, body, priority, collapseKey, topic, link } = item;
  const kept: Kept = { tidings: 1, ids: [...ids], item, ...(link === undefined ? {} : { link }) };
  const quiet = priority === "low" || priority === "very-low";
  return {
    title: title ?? body ?? "You have a new notification",
    options: {
      ...(title === undefined || body === undefined ? {} : { body }),
      tag: collapseKey === undefined ? `tidings:${item.id}` : `tidings:${topic}:${collapseKey}`,
      renotify: collapseKey !== undefined && !quiet,
      silent: quiet,
      timestamp: Date.parse(item.createdAt),
      data: kept,
    },
  };
}

function parse(text: string): PushPayload | undefined {
  try {
    const payload = JSON.parse(text) as Partial<PushPayload> | null;
    return payload?.tidings === 1 && typeof payload.item?.id === "string"
      ? payload as PushPayload
      : undefined;
  } catch {
    return undefined; // not ours
  }
}

async function worked(work: Promise<unknown>): Promise<boolean> {
  try {
    // openWindow and navigate resolve to null where the page's address is not known
    await work;
    return true;
  } catch {
    return false; // browsers refuse without a user's click, and for pages of others
  }
}
