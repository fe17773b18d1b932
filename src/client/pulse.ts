/**
 * Whether a link still lives: one that was silent for too long is asked, and one that does not answer is dead. A link that
 * cannot be asked is dead when it is silent.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Link } from "./link.ts";

/** Milliseconds for an answer to a ping. */
const PING = 1_500;

/** The pulse of one link at a time. */
export class Pulse {
  readonly #clock: Clock;
  readonly #mute: () => void;
  #link: Link | null = null;
  #heard = 0;
  #cancel: () => void = () => {};
  #cancelPing: () => void = () => {};

  /** `mute`: the link is dead. */
  constructor(clock: Clock, mute: () => void) {
    this.#clock = clock;
    this.#mute = mute;
  }

  /** Milliseconds since the last sign of life. */
  get silence(): number {
    return this.#clock.now() - this.#heard;
  }

  /** A sign of life. */
  beat(): void {
    this.#heard = this.#clock.now();
  }

  /** Watches this link from now on; null: none. */
  watch(link: Link | null): void {
    this.#cancel();
    this.#cancelPing();
    this.#link = link;
    this.beat();
    this.#wait();
  }

  /** Asks for a sign of life; `dead` when none comes. */
  ping(dead: () => void, alive: () => void = () => {}): void {
    const asked = this.#clock.now();
    this.#link?.send?.({ op: "ping" });
    this.#cancelPing();
    this.#cancelPing = this.#clock.after(PING, () => this.#heard >= asked ? alive() : dead());
  }

  #wait(): void {
    const { patience, send } = this.#link ?? {};
    if (patience === undefined) return;
    const wait = () => this.#wait();
    this.#cancel = this.#clock.after(Math.max(0, patience - this.silence) + 1, () => {
      if (this.silence <= patience) wait();
      else if (send === undefined) this.#mute();
      else this.ping(this.#mute, wait);
    });
  }
}
