/**
 * Frames that wait for the gateway's `ok`. Each ends: by its answer, by its deadline, or with the connection it went over.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { ServerFrame } from "../protocol.ts";
import { ANSWER, within } from "./deadline.ts";
import { isProblem, refusal, TidingsClientError } from "./problem.ts";

interface Waiting {
  resolve(ids: string[]): void;
  reject(error: TidingsClientError): void;
  act: string;
}

/** The requests of one connection. */
export class Requests {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Waiting>();
  #ref = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Sends with a `ref` and waits; resolves to the ids that the answer brought. `act` is for the message: "Cannot <act>: …". */
  ask(act: string, send: (ref: string) => void): Promise<string[]> {
    const ref = String(++this.#ref);
    const answer = new Promise<string[]>((resolve, reject) => {
      this.#waiting.set(ref, { act, resolve, reject });
      send(ref);
    });
    return within(this.#clock, ANSWER, act, "the gateway did not answer in time", answer)
      .finally(() => this.#waiting.delete(ref));
  }

  /** An answer came. */
  answered(frame: Extract<ServerFrame, { op: "ok" | "error" }>): void {
    const waiting = this.#waiting.get(frame.ref!);
    if (waiting === undefined) return;
    const { act, resolve, reject } = waiting;
    if (frame.op === "ok") resolve(frame.ids ?? []);
    else if (isProblem(frame.problem)) reject(refusal(act, frame.problem));
    else reject(new TidingsClientError("unexpected_answer", `Cannot ${act}: no reason was given`));
  }

  /** The connection is gone, and with it every answer. */
  lost(): void {
    for (const { reject, act } of this.#waiting.values()) {
      reject(
        new TidingsClientError("connection_lost", `Cannot ${act}: the connection was lost before the answer`),
      );
    }
  }
}
