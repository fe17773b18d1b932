/**
 * STOMP transactions of one session: what SEND, ACK and NACK put aside until COMMIT. Pure and bounded.
 * @module
 */
import { TidingsError } from "../errors.ts";
import type { Publication } from "../protocol.ts";
import type { StompFrame } from "./stomp_frame.ts";
import { boundedName, frameRefused, required } from "./stomp_header.ts";

/** Bounds of one session. */
export const TRANSACTION_LIMITS = {
  /** Open at once. */
  open: 16,
  /** Frames in one. */
  frames: 1_000,
  /** Bytes of bodies in all. */
  bytes: 2 * 1024 * 1024,
} as const;

/** What COMMIT carries out, in this order. */
export interface Transaction {
  publications: Publication[];
  /** ACK and NACK frames. */
  acks: StompFrame[];
}

/** The open transactions of a session. */
export class StompTransactions {
  #open = new Map<string, Transaction>();
  #bytes = new Map<string, number>();

  begin(frame: StompFrame): void {
    const id = boundedName(frame, "transaction", required(frame, "transaction"));
    if (this.#open.has(id)) throw frameRefused(frame, "transaction", "expected one that is not open");
    if (this.#open.size >= TRANSACTION_LIMITS.open) {
      throw frameRefused(frame, "transaction", `expected at most ${TRANSACTION_LIMITS.open} open`);
    }
    this.#open.set(id, { publications: [], acks: [] });
    this.#bytes.set(id, 0);
  }

  /** Closes the frame's transaction and returns what was put aside: to carry out, or to forget. */
  end(frame: StompFrame): Transaction {
    const transaction = this.#find(frame);
    const id = required(frame, "transaction");
    this.#open.delete(id);
    this.#bytes.delete(id);
    return transaction;
  }

  /** The transaction that takes this frame, with the frame counted against the bounds. */
  take(frame: StompFrame): Transaction {
    const transaction = this.#find(frame);
    const id = required(frame, "transaction");
    this.#bytes.set(id, (this.#bytes.get(id) ?? 0) + frame.body.length);
    const bytes = [...this.#bytes.values()].reduce((sum, each) => sum + each, 0);
    const frames = transaction.publications.length + transaction.acks.length;
    if (frames < TRANSACTION_LIMITS.frames && bytes <= TRANSACTION_LIMITS.bytes) return transaction;
    const message =
      `expected at most ${TRANSACTION_LIMITS.frames} frames and ${TRANSACTION_LIMITS.bytes} bytes`;
    throw new TidingsError("too_large", `Cannot hold the transaction: ${message}`, {
      errors: [{ field: "transaction", message }],
    });
  }

  #find(frame: StompFrame): Transaction {
    const transaction = this.#open.get(required(frame, "transaction"));
    if (transaction !== undefined) return transaction;
    throw frameRefused(frame, "transaction", "expected one that BEGIN opened");
  }
}
