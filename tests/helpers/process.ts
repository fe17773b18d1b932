/**
 * Programs of ours as processes of their own: started with exactly the environment a test gives them, waited for by what they
 * print, and gone when the test is over.
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What a process that ended left. */
export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** A running process. Disposing it kills it. */
export interface Process extends AsyncDisposable {
  readonly pid: number;
  /** Resolves with the match as soon as the output (stdout, then stderr) matches; rejects when the process ends before. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  /** Signals it, unless it has ended. */
  signal(name: Deno.Signal): void;
  ended: Promise<Ended>;
}

/**
 * Starts a script, given from the repository's root, with this environment and no other, in the repository or another folder.
 */
export function start(
  script: string,
  args: string[] = [],
  env: Record<string, string> = {},
  cwd: string = ROOT,
): Process {
  return startCommand(Deno.execPath(), ["run", "-q", "-A", join(ROOT, script), ...args], env, cwd);
}

/** Starts any command so, and as another user if one is given. */
export function startCommand(
  command: string,
  args: string[],
  env: Record<string, string> = {},
  cwd: string = ROOT,
  user: { uid: number; gid: number } | undefined = undefined,
): Process {
  const child = new Deno.Command(command, {
    args,
    cwd,
    ...user,
    clearEnv: true,
    env: { ...inherited(), NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = { stdout: "", stderr: "" };
  let changed = Promise.withResolvers<void>();
  const collect = async (name: "stdout" | "stderr") => {
    const decoder = new TextDecoder();
    for await (const chunk of child[name]) {
      output[name] += decoder.decode(chunk, { stream: true });
      changed.resolve();
    }
  };
  let over = false;
  const ended = Promise.all([child.status, collect("stdout"), collect("stderr")]).then(([{ code }]) => {
    over = true;
    changed.resolve();
    return { code, ...output };
  });
  return {
    pid: child.pid,
    ended,
    async until(pattern) {
      for (;;) {
        const found = pattern.exec(output.stdout) ?? pattern.exec(output.stderr);
        if (found !== null) return found;
        if (over) throw new Error(`It ended without ${pattern}:\n${output.stdout}\n${output.stderr}`);
        changed = Promise.withResolvers();
        await changed.promise;
      }
    },
    signal(name) {
      if (over) return;
      try {
        child.kill(name);
      } catch (error) {
        // it has just ended
        if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      this.signal("SIGKILL");
      await ended;
    },
  };
}

/** Runs to the end. */
export async function run(
  script: string,
  args: string[] = [],
  env: Record<string, string> = {},
): Promise<Ended> {
  await using process = start(script, args, env);
  return await process.ended;
}

function inherited(): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of ["PATH", "HOME", "DENO_DIR", "TMPDIR"]) {
    const value = Deno.env.get(name);
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}
