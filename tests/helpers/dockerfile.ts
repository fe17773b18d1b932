/**
 * Reads a Dockerfile and does what it says without Docker: every stage is a folder, `COPY` copies, `RUN` runs here. What a base image
 * brings is taken from this machine, so that the instructions are shown and not the base.
 * @module
 */
import { cp, mkdir } from "node:fs/promises";
import { basename, join } from "node:path";

/** What a container of the last stage would run. */
export interface Built {
  env: Record<string, string>;
  user: { uid: number; gid: number };
  cwd: string;
  entrypoint: string[];
  healthcheck: string[];
  stopSignal: string;
}

/** Follows the Dockerfile of the folder `context`, with the stages' file systems below `root`. */
export async function build(text: string, context: string, root: string): Promise<Built> {
  const stages = new Map<string, string>();
  let stage = "";
  let cwd = "/";
  const built: Built = {
    env: {},
    user: { uid: 0, gid: 0 },
    cwd: "",
    entrypoint: [],
    healthcheck: [],
    stopSignal: "SIGTERM",
  };
  const within = (path: string) => path.replaceAll(/(?<=^|[\s"=,])\/(?=(?:app|build)\b)/g, `${stage}/`);
  for (const [name, rest] of instructions(text)) {
    switch (name) {
      case "ARG":
      case "EXPOSE":
        break;
      case "FROM":
        stage = join(root, String(stages.size));
        stages.set(/ AS (\S+)$/.exec(rest)?.[1] ?? "last", stage);
        Object.assign(built, { env: {} });
        break;
      case "WORKDIR":
        cwd = join(stage, rest);
        await mkdir(cwd, { recursive: true });
        break;
      case "COPY": {
        const [, from, paths = ""] = /^(?:--from=(\S+) )?(.*)$/.exec(rest) ?? [];
        const sources = paths.split(" ");
        const to = sources.pop() ?? "";
        const target = to.startsWith("/") ? join(stage, to) : join(cwd, to);
        for (const source of sources) {
          await cp(
            join(from === undefined ? context : stages.get(from)!, source),
            to.endsWith("/") ? join(target, basename(source)) : target,
            { recursive: true, verbatimSymlinks: true },
          );
        }
        break;
      }
      case "RUN":
        await run(within(rest), cwd);
        break;
      case "ENV": {
        const [, key = "", value = ""] = /^(\w+)=(\S*)$/.exec(rest) ?? [];
        built.env[key] = within(value);
        break;
      }
      case "USER": {
        const [uid = 0, gid = 0] = rest.split(":").map(Number);
        built.user = { uid, gid };
        break;
      }
      case "STOPSIGNAL":
        built.stopSignal = rest;
        break;
      case "HEALTHCHECK":
        built.healthcheck = JSON.parse(rest.slice(rest.indexOf("["))).map(within);
        break;
      case "ENTRYPOINT":
        built.entrypoint = JSON.parse(rest).map(within);
        break;
      default:
        throw new Error(`Cannot follow ${name} ${rest}`);
    }
  }
  return { ...built, cwd };
}

/** Each instruction's name and the rest of its line. */
export function instructions(text: string): [string, string][] {
  return text.replaceAll(/\\\n\s*/g, "").split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]);
}

async function run(line: string, cwd: string): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command("sh", { args: ["-ec", line], cwd }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`RUN ${line} failed:\n${decoder.decode(stdout)}\n${decoder.decode(stderr)}`);
}
