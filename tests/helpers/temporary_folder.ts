/**
 * Folders that go with the test.
 * @module
 */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder. Disposing it removes it with all that is in it. */
export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
  /** The path of what has this name in it. */
  at(...name: string[]): string;
}

/** Makes one, named after what it is for; other accounts, such as a database server's, can look into it. */
export async function temporaryFolder(name: string): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), `tidings-${name}-`));
  await chmod(path, 0o755);
  return {
    path,
    at: (...name) => join(path, ...name),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}
