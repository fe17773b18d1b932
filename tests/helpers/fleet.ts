/**
 * Gateways as processes of their own, on one database: to be killed, restarted and replaced.
 * @module
 */
import { TEST_SECRET } from "./gateway.ts";
import { type Process, start } from "./process.ts";
import { type TemporaryFolder, temporaryFolder } from "./temporary_folder.ts";

/** Running gateways, each at a place. Disposing it kills them. */
export class Fleet implements AsyncDisposable {
  readonly #places: { process: Process; url: string | undefined }[] = [];
  readonly #old: Process[] = [];
  readonly #database: string;
  readonly #folder: TemporaryFolder;
  readonly #env: Record<string, string>;

  private constructor(database: string, folder: TemporaryFolder, env: Record<string, string>) {
    this.#database = database;
    this.#folder = folder;
    this.#env = env;
  }

  /** Starts so many on a migrated database, with further settings. */
  static async start(database: string, count: number, env: Record<string, string> = {}): Promise<Fleet> {
    const fleet = new Fleet(database, await temporaryFolder("fleet"), env);
    for (let place = 0; place < count; place++) fleet.#places.push(fleet.#launch());
    await Promise.all(fleet.#places.map((_, place) => fleet.#ready(place)));
    return fleet;
  }

  /** Where those can be reached that are up. */
  get urls(): string[] {
    return this.#places.flatMap(({ url }) => url === undefined ? [] : [url]);
  }

  /** Signals the gateway at a place; nobody is sent there any more. */
  signal(place: number, name: Deno.Signal): Process {
    const found = this.#places[place]!;
    found.url = undefined;
    found.process.signal(name);
    return found.process;
  }

  /** Starts another at a place. */
  async replace(place: number): Promise<void> {
    this.#old.push(this.#places[place]!.process);
    this.#places[place] = this.#launch();
    await this.#ready(place);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#old, ...this.#places.map(({ process }) => process)];
    await Promise.all(all.map((process) => process[Symbol.asyncDispose]()));
    await this.#folder[Symbol.asyncDispose]();
  }

  #launch() {
    const process = start("src/main.ts", [], {
      PORT: "0",
      HOST: "127.0.0.1",
      DATABASE_URL: this.#database,
      TIDINGS_JWT_SECRET: TEST_SECRET,
      TIDINGS_DATA: this.#folder.path,
      TIDINGS_DRAIN: "500ms",
      TIDINGS_DATABASE_POOL: "4",
      ...this.#env,
    });
    return { process, url: undefined as string | undefined };
  }

  async #ready(place: number): Promise<void> {
    const found = this.#places[place]!;
    const [, url] = await found.process.until(/Listening on (http:\/\/[\w.:]+)/);
    found.url = url;
  }
}
