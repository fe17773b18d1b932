/**
 * What lives long: started in order, stopped in reverse. Stopping twice, or without having started, is allowed.
 * @module
 */

/** Anything with a life. `stop` resolves when nothing of it is left. */
export interface Service {
  /** For messages: "Cannot start <name>: …". */
  readonly name: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A service that is one long run: `run` goes on until its signal is aborted, and rejects for nothing. */
export function runner(name: string, run: (signal: AbortSignal) => Promise<void>): Service {
  let stopping = new AbortController();
  let running: Promise<void> | undefined;
  return {
    name,
    start() {
      stopping = new AbortController();
      running = run(stopping.signal);
      return Promise.resolve();
    },
    async stop() {
      stopping.abort();
      await running;
      running = undefined;
    },
  };
}

/** Several services as one. When one fails to start, those before it are stopped again and the failure is thrown. */
export function compose(name: string, services: readonly Service[]): Service {
  const started: Service[] = [];
  async function stop(): Promise<void> {
    const errors: unknown[] = [];
    for (let service = started.pop(); service !== undefined; service = started.pop()) {
      try {
        await service.stop();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) {
      throw errors.length === 1 ? errors[0] : new AggregateError(errors, `Cannot stop ${name}`);
    }
  }
  return {
    name,
    async start() {
      for (const service of services) {
        try {
          // pushed first: a half-started service is stopped as well
          started.push(service);
          await service.start();
        } catch (error) {
          await stop();
          throw error;
        }
      }
    },
    stop,
  };
}
