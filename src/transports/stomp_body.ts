/**
 * What stands in the bodies of MESSAGE and SEND. Pure.
 *
 * A MESSAGE's body is the item as JSON, or an object of a shape that is set once for the gateway: each name of the shape
 * takes one value of the item, by a path such as `id`, `body`, `data.route.grade`; `user` is the person who receives it;
 * `number:id` gives a JSON number. `data` as the whole shape gives what the sender attached, and nothing around it.
 * @module
 */
import { invalidField, type TidingsError } from "../errors.ts";
import { isExactNumber, parseExact, roundFields } from "../exact_json.ts";
import type { Item, Priority } from "../notification.ts";
import { PRIORITIES } from "../notification.ts";
import type { Publication } from "../protocol.ts";

/** `item`: the item; `data`: its data, or the item where it has none; an object: names and the paths of their values. */
export type BodyShape = "item" | "data" | Readonly<Record<string, string>>;

const PATH =
  /^(?:number:)?(?:user|id|topic|type|title|body|link|sender|priority|collapseKey|createdAt|expiresAt|data(?:\.[^.]+)*)$/;
const FIELDS = ["type", "title", "body", "link", "priority", "collapseKey", "dedupeKey", "ttl"] as const;
const DECODER = new TextDecoder("utf-8", { fatal: true });

/** Reads a shape as it is written in a setting: `item`, `data`, or a JSON object. Returns undefined when it is none. */
export function parseShape(text: string): BodyShape | undefined {
  if (text === "item" || text === "data") return text;
  const value = parseJson(text);
  if (!isRecord(value)) return undefined;
  const paths = Object.values(value);
  if (paths.length === 0 || !paths.every((path) => typeof path === "string" && PATH.test(path))) {
    return undefined;
  }
  return value as Record<string, string>;
}

/** What a shape must look like, for messages. */
export const SHAPE_EXPECTED =
  'expected "item", "data", or a JSON object of names and paths such as {"id":"number:id","message":"body"}';

/** Reads which types a person's queues show: `match=match.found,match.made;errors=error`. Undefined when it is none. */
export function parseQueues(text: string): ReadonlyMap<string, readonly string[]> | undefined {
  const queues = new Map<string, readonly string[]>();
  for (const part of text.split(";")) {
    const [, queue = "", types = ""] = /^\s*([^\s=;,]{1,100})\s*=(.+)$/.exec(part) ?? [];
    const list = types.split(",").map((type) => type.trim());
    if (!list.every((type) => /^[A-Za-z0-9_.-]{1,100}$/.test(type)) || queues.has(queue)) return undefined;
    queues.set(queue, list);
  }
  return queues.size <= 100 ? queues : undefined;
}

/** What the queues' setting must look like, for messages. */
export const QUEUES_EXPECTED = 'expected queues and their types: "match=match.found,match.made;errors=error"';

/** The body of a MESSAGE. */
export function writeBody(item: Item, user: string, shape: BodyShape): string {
  if (shape === "item") return JSON.stringify(item);
  if (shape === "data") return JSON.stringify(item.data ?? item);
  const body: Record<string, unknown> = {};
  for (const [name, path] of Object.entries(shape)) {
    const value = valueAt(item, user, path);
    if (value !== undefined) body[name] = value;
  }
  return JSON.stringify(body);
}

/**
 * What a SEND asks to publish. Headers say most: `type`, `title`, `link`, `priority`, `collapse-key`, `dedupe-key`, `ttl`,
 * `transient`. A body that is a JSON object with nothing but a publication's fields (or the names of the gateway's own
 * shape) gives those fields; any other JSON object or list becomes `data`; the rest is text and becomes `body`. Headers win over the body.
 */
export function readSend(
  to: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  shape: BodyShape,
): Publication {
  const publication: Publication = { ...readBody(body, headers["content-type"], shape), to };
  for (const field of FIELDS) {
    const value = field === "body" ? undefined : headers[kebab(field)];
    if (value === undefined) continue;
    if (field === "priority") publication.priority = priority(value);
    else publication[field] = value;
  }
  if (headers["transient"] !== undefined) publication.transient = boolean("transient", headers["transient"]);
  return publication;
}

function readBody(
  bytes: Uint8Array,
  contentType: string | undefined,
  shape: BodyShape,
): Partial<Publication> {
  if (bytes.length === 0) return {};
  let text: string;
  try {
    text = DECODER.decode(bytes);
  } catch (cause) {
    throw refuse("body", "expected UTF-8", cause);
  }
  const plain = contentType !== undefined && /^text\/(?!json)/i.test(contentType);
  const value = plain ? undefined : parseJson(text, parseExact);
  if (value === undefined) {
    if (contentType !== undefined && /json/i.test(contentType)) {
      throw refuse("body", "expected JSON, as content-type says");
    }
    return { body: text };
  }
  if (isRecord(value)) return asFields(value) ?? asShape(value, shape) ?? { data: value };
  // somebody who writes 42 into a chat means the text, unless the header says otherwise
  return Array.isArray(value) || contentType !== undefined ? { data: value } : { body: text };
}

/** Only when every key is a publication's field with a value of its kind: half a publication is somebody's own object. */
function asFields(value: Record<string, unknown>): Partial<Publication> | undefined {
  const keys = Object.keys(value);
  if (!keys.some((key) => key === "title" || key === "body" || key === "data" || key === "link")) {
    return undefined;
  }
  const fits = keys.every((key) => {
    if (key === "data") return true;
    if (key === "transient" || key === "push") return typeof value[key] === "boolean";
    if (key === "ttl") {
      return typeof value[key] === "number" || typeof value[key] === "string" || isExactNumber(value[key]);
    }
    if (key === "priority") return PRIORITIES.includes(value[key] as Priority);
    return (FIELDS as readonly string[]).includes(key) && typeof value[key] === "string";
  });
  if (!fits) return undefined;
  roundFields(value);
  return value as Partial<Publication>;
}

/** The shape read backwards: what a page gets in `message` it may also send in `message`. */
function asShape(value: Record<string, unknown>, shape: BodyShape): Partial<Publication> | undefined {
  if (typeof shape === "string") return undefined;
  const fields: Record<string, unknown> = {};
  for (const [key, each] of Object.entries(value)) {
    const path = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (path === undefined) return undefined;
    if (["title", "body", "link", "type", "collapseKey"].includes(path)) {
      if (typeof each !== "string") return undefined;
      fields[path] = each;
    } else if (path === "data") fields["data"] = each;
    else if (path.startsWith("data.")) return undefined;
  }
  return fields["title"] === undefined && fields["body"] === undefined ? undefined : fields;
}

function valueAt(item: Item, user: string, path: string): unknown {
  const numeric = path.startsWith("number:");
  const steps = (numeric ? path.slice(7) : path).split(".");
  let value: unknown = { ...item, user };
  for (const step of steps) {
    value = isRecord(value) && Object.hasOwn(value, step) ? value[step] : undefined;
  }
  if (!numeric || value === undefined) return value;
  const number = Number(isExactNumber(value) ? value.rawJSON : value);
  // a number that JSON's readers would round is worth more as the text that it is
  return Number.isFinite(number) && (!Number.isInteger(number) || Number.isSafeInteger(number))
    ? number
    : value;
}

function priority(value: string): Priority {
  if ((PRIORITIES as readonly string[]).includes(value)) return value as Priority;
  throw refuse("priority", `expected one of ${PRIORITIES.join(", ")}`);
}

function boolean(field: string, value: string): boolean {
  if (value === "true" || value === "false") return value === "true";
  throw refuse(field, "expected true or false");
}

function kebab(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function parseJson(text: string, parse: (text: string) => unknown = JSON.parse): unknown {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isExactNumber(value);
}

function refuse(field: string, expected: string, cause?: unknown): TidingsError {
  return invalidField("publish", field, expected, cause);
}
