/**
 * What a statement costs, counted in pages: the same on every machine.
 * @module
 */

/** A row of `explain (analyze, buffers, format json)`. */
export interface Explained {
  "QUERY PLAN": [{ Plan: { "Shared Hit Blocks": number; "Shared Read Blocks": number } }];
}

/**
 * The pages of the database that a statement looks at. It is run a few times, and the least counts: a connection that is new, or
 * whose knowledge of the catalogs others' changes have voided, looks at those too.
 */
export async function pagesOf(explain: () => PromiseLike<readonly Explained[]>): Promise<number> {
  const counts: number[] = [];
  while (counts.length < 5) {
    const [row] = await explain();
    const { Plan } = row!["QUERY PLAN"][0];
    counts.push(Plan["Shared Hit Blocks"] + Plan["Shared Read Blocks"]);
  }
  return Math.min(...counts);
}
