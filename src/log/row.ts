/**
 * One row of the log as the gateway holds it: what routing needs, and the JSON of its item, made once for all who get it.
 * @module
 */
import { parseExact } from "../exact_json.ts";
import type { Item } from "../notification.ts";
import type { Place } from "./cursor.ts";

/** A row of the log. */
export interface Row extends Place {
  readonly topic: string;
  readonly type: string;
  /** The item ({@link Item}) as JSON text. */
  readonly json: string;
  /** Milliseconds since the epoch; absent: it does not expire. */
  readonly expiresAt?: number;
  /** Live only: never in an inbox. */
  readonly transient?: true;
}

/** An entry as `tidings.entry` makes it: numbers and times (milliseconds) as text. */
export type Entry = [
  id: string,
  xid: string,
  topic: string,
  type: string,
  title: string | null,
  body: string | null,
  link: string | null,
  data: string | null,
  sender: string | null,
  priority: string | null,
  collapseKey: string | null,
  transient: string | null,
  createdAt: string,
  expiresAt: string | null,
];

/** Types that steer a session and are never shown as items; joins and leaves are shown to whoever asked for them. */
export function isControl(row: Row): boolean {
  return row.type.startsWith("tidings.") && row.type !== "tidings.join" && row.type !== "tidings.leave";
}

/** The item of a row, parsed. */
export function itemOf(row: Row): Item {
  return JSON.parse(row.json);
}

/** The item of a row, to pass on: numbers in its data keep their digits (`exact_json.ts`). */
export function exactItemOf(row: Row): Item {
  return parseExact(row.json) as Item;
}

/** Makes the row of an entry. `data` is passed through as PostgreSQL wrote it, so that its numbers keep their digits. */
export function toRow(entry: Entry): Row {
  const [
    id,
    xid,
    topic,
    type,
    title,
    body,
    link,
    data,
    sender,
    priority,
    collapseKey,
    transient,
    createdAt,
    expiresAt,
  ] = entry;
  let json = `{"id":"${id}","topic":${JSON.stringify(topic)},"type":${JSON.stringify(type)}`;
  if (title !== null) json += `,"title":${JSON.stringify(title)}`;
  if (body !== null) json += `,"body":${JSON.stringify(body)}`;
  if (link !== null) json += `,"link":${JSON.stringify(link)}`;
  if (data !== null) json += `,"data":${data}`;
  if (sender !== null) json += `,"sender":${JSON.stringify(sender)}`;
  if (priority !== null) json += `,"priority":"${priority}"`;
  if (collapseKey !== null) json += `,"collapseKey":${JSON.stringify(collapseKey)}`;
  if (transient !== null) json += `,"transient":true`;
  json += `,"createdAt":"${new Date(Number(createdAt)).toISOString()}"`;
  if (expiresAt !== null) json += `,"expiresAt":"${new Date(Number(expiresAt)).toISOString()}"`;
  json += "}";
  return {
    id: Number(id),
    xid: Number(xid),
    topic,
    type,
    json,
    ...(expiresAt === null ? {} : { expiresAt: Number(expiresAt) }),
    ...(transient === null ? {} : { transient: true }),
  };
}
