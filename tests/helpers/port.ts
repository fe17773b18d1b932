/**
 * Loopback ports for programs that have to be told theirs.
 * @module
 */

/** A port that was free a moment ago. */
export function freePort(): number {
  const [port] = freePorts(1);
  return port!;
}

/** So many, each another one. */
export function freePorts(count: number): number[] {
  using listeners = new DisposableStack();
  return Array.from({ length: count }, () => {
    const listener = listeners.use(Deno.listen({ hostname: "127.0.0.1", port: 0 }));
    return listener.addr.port;
  });
}
