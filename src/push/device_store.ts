/**
 * Devices in Postgres. SQL: `sql/041_device.sql`, and what a device's worker may do in `sql/043_push.sql`.
 * @module
 */
import type { Statement } from "../database/postgres.ts";
import type { Item } from "../notification.ts";
import type { InboxCount, MarkState } from "../protocol.ts";
import type { Registration } from "./provider.ts";
import { itemOf, type StoredItem } from "./store.ts";

/** A device as its owner sees it. */
export interface Device {
  id: string;
  kind: string;
  createdAt: Date;
  seenAt: Date;
}

/** A device that showed its secret. */
export interface KnownDevice {
  /** The number that the database gave it. */
  number: string;
  user: string;
  kind: string;
}

/** What is registered. */
export interface NewDevice extends Registration {
  user: string;
  id: string;
  kind: string;
  silent: boolean;
  /** SHA-256 of the device's secret. */
  secret: Uint8Array;
}

/** Registers devices, and serves their workers. */
export interface DeviceStore {
  /** Registers or renews; takes the address from whoever had it. Returns the device's number. */
  register(device: NewDevice): Promise<string>;
  /** False: this person has no such device. */
  remove(user: string, id: string): Promise<boolean>;
  list(user: string): Promise<Device[]>;
  bySecret(number: string, secret: Uint8Array): Promise<KnownDevice | undefined>;
  renew(number: string, registration: Registration): Promise<void>;
  /** Those of the notifications that were pushed to it and are still there. */
  items(number: string, ids: readonly string[]): Promise<Item[]>;
  /** Marks those that were pushed to it. */
  mark(number: string, ids: readonly string[], state: MarkState): Promise<InboxCount>;
  /** It showed these. */
  shown(number: string, ids: readonly string[]): Promise<void>;
}

/** The store. Deadlines are the connection pool's. */
export function createDeviceStore(sql: Statement): DeviceStore {
  return {
    async register({ user, id, kind, address, keys, silent, secret }) {
      const [row] = await sql<{ number: string }[]>`
        select tidings.register_device(${user}, ${id}, ${kind}, ${address}, ${
        JSON.stringify(keys)
      }::text::jsonb,
          ${silent}::boolean, ${secret}::bytea) as number`;
      return row?.number ?? "";
    },
    async remove(user, id) {
      const [row] = await sql<{ done: boolean }[]>`select tidings.remove_device(${user}, ${id}) as done`;
      return row?.done ?? false;
    },
    async list(user) {
      const rows = await sql<Device[]>`
        select id, kind, created_at as "createdAt", seen_at as "seenAt" from tidings.devices(${user})`;
      return [...rows];
    },
    async bySecret(number, secret) {
      const [row] = await sql<KnownDevice[]>`
        select number, user_id as user, kind from tidings.device_by_secret(${number}::bigint, ${secret}::bytea)`;
      return row;
    },
    async renew(number, { address, keys }) {
      await sql`
        select tidings.renew_device(${number}::bigint, ${address}, ${JSON.stringify(keys)}::text::jsonb)`;
    },
    async items(number, ids) {
      const rows = await sql<{ item: StoredItem }[]>`
        select item from tidings.pushed_items(${number}::bigint, ${array(ids)}::text::bigint[]) item`;
      return rows.map(({ item }) => itemOf(item));
    },
    async mark(number, ids, state) {
      const [row] = await sql<InboxCount[]>`
        select unread, unseen from tidings.mark_pushed(${number}::bigint, ${
        array(ids)
      }::text::bigint[], ${state})`;
      return row ?? { unread: 0, unseen: 0 };
    },
    async shown(number, ids) {
      await sql`select tidings.push_shown(${number}::bigint, ${array(ids)}::text::bigint[])`;
    },
  };
}

function array(ids: readonly string[]): string {
  return `{${ids.join(",")}}`;
}
