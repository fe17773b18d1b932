/**
 * What a person's preferences hide from them.
 * @module
 */

/** What is hidden from a person: topics and types with a rule of their own, and whether all others are. */
export interface HiddenRules {
  offTopics: readonly string[];
  onTopics: readonly string[];
  offTypes: readonly string[];
  onTypes: readonly string[];
  off: boolean;
}

/** Rules as SQL writes them. */
export interface RulesRecord {
  off_topics: string[];
  on_topics: string[];
  off_types: string[];
  on_types: string[];
  off: boolean;
}

/** The rules as they travel in the log and come from the database. */
export function toRules(record: RulesRecord): HiddenRules {
  return {
    offTopics: record.off_topics,
    onTopics: record.on_topics,
    offTypes: record.off_types,
    onTypes: record.on_types,
    off: record.off,
  };
}

/** Whether a row is hidden; undefined where the rules hide nothing. */
export function screenOf(
  rules: HiddenRules,
): ((row: { topic: string; type: string }) => boolean) | undefined {
  const { offTopics, onTopics, offTypes, onTypes, off } = rules;
  if (!off && offTopics.length === 0 && offTypes.length === 0) return undefined;
  return ({ topic, type }) =>
    offTopics.includes(topic) || offTypes.includes(type) ||
    (off && !onTopics.includes(topic) && !onTypes.includes(type));
}
