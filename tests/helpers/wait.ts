/**
 * Waiting for what a test can only look at. Where there is a signal, wait for the signal instead.
 * @module
 */

/** Resolves as soon as `holds` does, looked at every few milliseconds; rejects after `most` ms. */
export async function waitFor(holds: () => boolean, most = 60_000): Promise<void> {
  const end = performance.now() + most;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`It did not come to this within ${most} ms: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
