/**
 * The log in memory, with PostgreSQL's own semantics of transactions and snapshots: an xid is assigned by the first insert, a
 * snapshot's xmax is one past the highest xid that has *ended*, and only transactions below it are listed as in progress.
 * @module
 */
import type { Cursor } from "../../src/log/cursor.ts";
import type { Row } from "../../src/log/row.ts";

/** A row, and when its transaction began and committed, in steps of the log's history. */
export interface Committed extends Row {
  began: number;
  committed: number;
}

/** A transaction in progress. */
export interface Transaction {
  readonly xid: number;
  insert(topic?: string, type?: string): Row;
  commit(): void;
  abort(): void;
}

/** A database with one table and no server. */
export class VirtualLog {
  readonly epoch: string;
  readonly running = new Map<number, Transaction>();
  readonly committed: Committed[] = [];
  #nextXid: number;
  #nextId: number;
  #latestCompleted: number;
  #step = 0;

  constructor(epoch = "e1", firstXid = 700) {
    this.epoch = epoch;
    this.#nextXid = firstXid;
    this.#nextId = 1;
    this.#latestCompleted = firstXid - 1;
  }

  /** Begins a transaction and assigns its xid. */
  begin(): Transaction {
    const xid = this.#nextXid++;
    const began = this.#step++;
    const rows: Row[] = [];
    const end = () => {
      this.running.delete(xid);
      this.#latestCompleted = Math.max(this.#latestCompleted, xid);
    };
    const transaction: Transaction = {
      xid,
      insert: (topic = "t", type = "notification") => {
        const id = this.#nextId++;
        const row = { id, xid, topic, type, json: JSON.stringify({ id: String(id), topic, type }) };
        rows.push(row);
        return row;
      },
      commit: () => {
        end();
        const committed = this.#step++;
        this.committed.push(...rows.map((row) => ({ ...row, began, committed })));
      },
      abort: end,
    };
    this.running.set(xid, transaction);
    return transaction;
  }

  /** Inserts and commits at once. */
  send(topic?: string, type?: string): Row {
    const transaction = this.begin();
    const row = transaction.insert(topic, type);
    transaction.commit();
    return row;
  }

  /** What pg_current_snapshot() gives. */
  snapshot(): Cursor {
    const xmax = this.#latestCompleted + 1;
    const gaps = [...this.running.keys()].filter((xid) => xid < xmax).sort((a, b) => a - b);
    return { epoch: this.epoch, xmax, gaps: gaps.map((xid) => ({ xid, id: 0 })) };
  }

  /** What tidings.read_log selects: committed rows after a cursor, as its SQL says it. */
  after(cursor: Cursor): Committed[] {
    const gaps = new Map(cursor.gaps.map(({ xid, id }) => [xid, id]));
    return this.committed
      .filter((row) => row.xid >= cursor.xmax || row.id > (gaps.get(row.xid) ?? Infinity))
      .sort((a, b) => a.xid - b.xid || a.id - b.id);
  }

  /** What tidings.read_topics selects: those of some topics that are also behind another cursor. */
  between(topics: readonly string[], after: Cursor, until: Cursor): Committed[] {
    const gaps = new Map(until.gaps.map(({ xid, id }) => [xid, id]));
    return this.after(after).filter((row) =>
      topics.includes(row.topic) && row.xid < until.xmax && row.id <= (gaps.get(row.xid) ?? Infinity)
    );
  }
}
