/**
 * A stretch of following: the part of the log in which a person followed a topic.
 * @module
 */
import { type Position, type PositionRecord, toPosition } from "../log/position.ts";

/** A stretch of following. */
export interface Stretch {
  /** Which following it is. */
  id: string;
  topic: string;
  since: Position;
  /** Absent: the person follows still. */
  until?: Position;
}

/** A stretch as SQL writes it. */
export interface StretchRecord {
  id: string;
  topic: string;
  since: PositionRecord;
  until?: PositionRecord;
}

/** A stretch as it travels in the log and comes from the database. */
export function toStretch({ id, topic, since, until }: StretchRecord): Stretch {
  return {
    id,
    topic,
    since: toPosition(since),
    ...(until === undefined ? {} : { until: toPosition(until) }),
  };
}
