/**
 * The toasts that are up: which, in which order, until when. Knows nothing of the screen.
 *
 * Holds: at most three at a time, the oldest leaves first; one with a collapseKey replaces its predecessor in place; one
 * that shows progress stays until it is done or expires; none leaves while somebody points at it or reads it.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Item } from "../notification.ts";

/** One toast. */
export interface Toast {
  /** Stays the same when its content is replaced. */
  key: string;
  item: Item;
  /** 0 to 1, for a job that goes on. */
  progress: number | undefined;
}

/** As many are up at a time; the others are in the inbox. */
const MOST = 3;
/** Milliseconds after which a job that says nothing any more is taken for dead. */
const SILENT_JOB = 120_000;

/** The toasts of one bell. */
export class Toasts {
  readonly #clock: Clock;
  readonly #changed: () => void;
  readonly #timers = new Map<string, () => void>();
  #list: Toast[] = [];
  #held = false;
  /** Milliseconds that a toast stays; 0: there are none. */
  stay: number;

  constructor(clock: Clock, changed: () => void, stay: number) {
    this.#clock = clock;
    this.#changed = changed;
    this.stay = stay;
  }

  get list(): readonly Toast[] {
    return this.#list;
  }

  /** The jobs that go on, toasts or no toasts. */
  get jobs(): readonly Toast[] {
    return this.#list.filter((toast) => toast.progress !== undefined);
  }

  show(item: Item): void {
    if (item.title === undefined && item.body === undefined) return;
    if (this.stay <= 0 && progressOf(item.data) === undefined) return;
    const key = item.collapseKey === undefined ? item.id : `${item.topic} ${item.collapseKey}`;
    const toast: Toast = { key, item, progress: progressOf(item.data) };
    const place = this.#list.findIndex((each) => each.key === key);
    if (place >= 0) this.#list = this.#list.with(place, toast);
    else this.#list = [...this.#list, toast];
    for (const { key } of this.#list.slice(0, -MOST)) this.dismiss(key);
    this.#time(toast);
    this.#changed();
  }

  dismiss(key: string): void {
    this.#timers.get(key)?.();
    this.#timers.delete(key);
    this.#list = this.#list.filter((toast) => toast.key !== key);
    this.#changed();
  }

  /** While held, none leaves. */
  hold(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    for (const toast of this.#list) this.#time(toast);
  }

  clear(): void {
    for (const { key } of this.#list) this.dismiss(key);
  }

  #time(toast: Toast): void {
    this.#timers.get(toast.key)?.();
    this.#timers.delete(toast.key);
    if (this.#held) return;
    this.#timers.set(toast.key, this.#clock.after(this.#left(toast), () => this.dismiss(toast.key)));
  }

  #left({ item, progress }: Toast): number {
    if (progress === undefined || progress >= 1) return this.stay;
    const expires = item.expiresAt === undefined ? NaN : Date.parse(item.expiresAt) - this.#clock.now();
    return Number.isFinite(expires) ? Math.max(this.stay, expires) : SILENT_JOB;
  }
}

/** How much of a job is done, 0 to 1: `data.progress`, or `data.done` of `data.total`. */
function progressOf(data: unknown): number | undefined {
  const { progress, done, total } = (data ?? {}) as Record<string, unknown>;
  const value = typeof progress === "number"
    ? progress
    : typeof done === "number" && typeof total === "number" && total > 0
    ? done / total
    : NaN;
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : undefined;
}
