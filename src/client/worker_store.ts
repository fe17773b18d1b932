/**
 * What a service worker must not forget, in IndexedDB, which pages of the same origin share: who the device is, and what it
 * showed. Storage that is missing or forbidden costs memory of what was shown, never a notification.
 * @module
 */

/** Who this device is at the gateway. */
export interface DeviceIdentity {
  /** The gateway, with a slash at its end. */
  base: string;
  /** Shown in the header Tidings-Device. */
  token: string;
}

/** What is kept. */
export interface WorkerStore {
  identity(): Promise<DeviceIdentity | undefined>;
  /** Undefined forgets it. */
  keepIdentity(identity: DeviceIdentity | undefined): Promise<void>;
  /** Whether this was shown before. */
  wasShown(id: string): Promise<boolean>;
  keepShown(ids: readonly string[], now: number): Promise<void>;
}

const NAME = "tidings";
const MOST = 1_000;

/** The store of a browser. */
export function workerStore(factory: IDBFactory): WorkerStore {
  let opening: Promise<IDBDatabase> | undefined;

  function open(): Promise<IDBDatabase> {
    opening ??= new Promise<IDBDatabase>((done, fail) => {
      const request = factory.open(NAME, 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("device");
        request.result.createObjectStore("shown").createIndex("at", "");
      };
      request.onsuccess = () => {
        request.result.onclose = () => opening = undefined;
        done(request.result);
      };
      request.onerror = () => fail(request.error);
    });
    opening.catch(() => opening = undefined);
    return opening;
  }

  async function run<T>(
    name: "device" | "shown",
    mode: IDBTransactionMode,
    work: (store: IDBObjectStore) => { readonly result: T },
  ): Promise<T> {
    const transaction = (await open()).transaction(name, mode);
    const request = work(transaction.objectStore(name));
    return await new Promise<T>((done, fail) => {
      transaction.oncomplete = () => done(request.result);
      transaction.onabort = () => fail(transaction.error);
      transaction.onerror = () => fail(transaction.error);
    });
  }

  return {
    identity: () => run("device", "readonly", (store) => store.get("identity")),
    async keepIdentity(identity) {
      await run<unknown>(
        "device",
        "readwrite",
        (store) => identity === undefined ? store.delete("identity") : store.put(identity, "identity"),
      );
    },
    wasShown: async (id) => await run("shown", "readonly", (store) => store.count(id)) > 0,
    async keepShown(ids, now) {
      const count = await run("shown", "readwrite", (store) => {
        for (const id of ids) store.put(now, id);
        return store.count();
      });
      if (count <= MOST) return;
      let spare = count - MOST;
      await run<unknown>("shown", "readwrite", (store) => {
        const cursor = store.index("at").openKeyCursor();
        cursor.onsuccess = () => {
          if (cursor.result === null || spare-- <= 0) return;
          store.delete(cursor.result.primaryKey);
          cursor.result.continue();
        };
        return cursor;
      });
    },
  };
}
