import assert from "node:assert/strict";
import fc from "fast-check";
import { createPublisher, type PublisherLimits, type PublishRequest } from "../../src/api/publisher.ts";
import {
  type BatchRequest,
  type FailureKind,
  type Outcome,
  PublishFailure,
  type PublishStore,
} from "../../src/database/publish_store.ts";
import { TidingsError } from "../../src/errors.ts";
import { manualClock } from "../helpers/manual_clock.ts";

/** A store whose statements end when the test says so. */
function heldStore() {
  const statements: { requests: readonly BatchRequest[]; commit(): void; fail(kind: FailureKind): void }[] =
    [];
  let arrived = Promise.withResolvers<void>();
  const store: PublishStore = {
    send(requests) {
      const { promise, resolve, reject } = Promise.withResolvers<Outcome[]>();
      statements.push({
        requests,
        commit: () => resolve(requests.map(sent)),
        fail: (kind) => reject(failure(kind)),
      });
      arrived.resolve();
      arrived = Promise.withResolvers();
      return promise;
    },
    purge: () => Promise.resolve(0),
  };
  return {
    store,
    statements,
    /** Resolves when there are so many. */
    async until(count: number): Promise<void> {
      while (statements.length < count) await arrived.promise;
    },
    get last() {
      return statements.at(-1)!;
    },
  };
}

/** The request's name comes back as its id. */
function sent(request: BatchRequest): Outcome {
  return { outcome: "sent", ids: request.rows.map(({ title }) => title ?? "") };
}

function failure(kind: FailureKind): PublishFailure {
  return new PublishFailure(
    kind,
    new TidingsError(kind === "refused" ? "invalid_request" : "unavailable", `said ${kind}`),
  );
}

function request(title: string, extra: Partial<PublishRequest> = {}): PublishRequest {
  return { rows: [{ topics: ["all"], title }], count: 1, bytes: 100, ...extra };
}

function keyed(title: string, key: string, extra: Partial<PublishRequest> = {}): PublishRequest {
  return request(title, { idempotency: { owner: "ann", key, fingerprint: title }, ...extra });
}

function publisher(limits: Partial<PublisherLimits> = {}) {
  const held = heldStore();
  const clock = manualClock();
  const made = createPublisher(held.store, { clock, chance: () => 0.5 }, limits);
  return { ...held, held, clock, publisher: made, publish: made.publish.bind(made) };
}

/** Lets everything that is ready run. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

const code = (expected: string, message?: RegExp) => (error: unknown) => {
  assert.ok(error instanceof TidingsError);
  assert.equal(error.code, expected);
  if (message !== undefined) assert.match(error.message, message);
  return true;
};

Deno.test("publish() sends the first requests at once, and gathers the others while those are under way", async () => {
  const { publish, statements, held } = publisher({ inFlight: 2, batchRequests: 500 });
  const all = Array.from({ length: 302 }, (_, i) => publish(request(String(i))));
  assert.deepEqual(statements.map(({ requests }) => requests.length), [1, 1]);
  statements[0]!.commit();
  await held.until(3);
  assert.deepEqual(statements.map(({ requests }) => requests.length), [1, 1, 300]);
  statements[1]!.commit();
  statements[2]!.commit();
  const published = await Promise.all(all);
  assert.deepEqual(published.map(({ ids }) => ids[0]), Array.from({ length: 302 }, (_, i) => String(i)));
  assert.equal(statements.length, 3);
});

Deno.test("publish() needs the fewer statements for each request the more come at once", async () => {
  const perRequest: number[] = [];
  for (const clients of [1, 4, 16, 64, 256]) {
    let statements = 0;
    const store: PublishStore = {
      async send(requests) {
        statements++;
        await turn();
        return requests.map(sent);
      },
      purge: () => Promise.resolve(0),
    };
    const made = createPublisher(store, { clock: manualClock(), chance: () => 0.5 });
    await Promise.all(Array.from({ length: clients }, async () => {
      for (let round = 0; round < 20; round++) await made.publish(request("x"));
    }));
    perRequest.push(statements / (clients * 20));
  }
  assert.equal(perRequest[0], 1);
  for (const [index, ratio] of perRequest.slice(1).entries()) {
    assert.ok(ratio < perRequest[index]!, `${perRequest}`);
  }
  assert.ok(perRequest.at(-1)! < 0.02, `${perRequest}`);
});

Deno.test("a statement takes no more requests, rows and bytes than its bounds, but always one request", async () => {
  const bounds: [Partial<PublisherLimits>, Partial<PublishRequest>][] = [
    [{ batchRequests: 3 }, {}],
    [{ batchRows: 30 }, { count: 10 }],
    [{ batchBytes: 300 }, { bytes: 100 }],
  ];
  for (const [limits, weight] of bounds) {
    const { publish, held, statements } = publisher({ inFlight: 1, ...limits });
    const all = Array.from({ length: 8 }, (_, i) => publish(request(String(i), weight)));
    for (let n = 1; n <= 4; n++) {
      await held.until(n);
      held.last.commit();
    }
    await Promise.all(all);
    assert.deepEqual(statements.map(({ requests }) => requests.length), [1, 3, 3, 1]);
  }
  const { publish, held, statements } = publisher({ inFlight: 1, batchRows: 30 });
  const huge = publish(request("huge", { count: 5_000 }));
  held.last.commit();
  await huge;
  assert.equal(statements.length, 1);
});

Deno.test("publish() refuses what does not fit into the queue, and takes more when it has emptied", async () => {
  const bounds: Partial<PublisherLimits>[] = [{ waitingRequests: 2 }, { waitingRows: 2 }, {
    waitingBytes: 200,
  }];
  for (const limits of bounds) {
    const { publish, held } = publisher({ inFlight: 1, batchRequests: 1, ...limits });
    const first = publish(request("1"));
    const second = publish(request("2"));
    await assert.rejects(publish(request("3")), (error) => {
      assert.equal((error as TidingsError).details.retryAfter, 1);
      return code("unavailable", /2 requests are waiting/)(error);
    });
    held.last.commit();
    await first;
    const fourth = publish(request("4"));
    await held.until(2);
    held.last.commit();
    await second;
    await held.until(3);
    held.last.commit();
    await fourth;
  }
});

Deno.test("a refused statement is taken apart until the guilty request is alone, and only that one fails", async () => {
  const sentTitles: string[] = [];
  let statements = 0;
  const store: PublishStore = {
    async send(requests) {
      statements++;
      await turn();
      const titles = requests.flatMap(({ rows }) => rows.map(({ title }) => title ?? ""));
      if (titles.includes("bad")) throw failure("refused");
      sentTitles.push(...titles);
      return requests.map(sent);
    },
    purge: () => Promise.resolve(0),
  };
  const made = createPublisher(store, { clock: manualClock(), chance: () => 0.5 }, { inFlight: 1 });
  const names = Array.from({ length: 129 }, (_, i) => i === 77 ? "bad" : String(i));
  const results = await Promise.allSettled(names.map((name) => made.publish(request(name))));
  for (const [index, result] of results.entries()) {
    if (names[index] === "bad") {
      assert.ok(result.status === "rejected");
      code("invalid_request", /said refused/)(result.reason);
    } else assert.deepEqual(result.status === "fulfilled" && result.value.ids, [names[index]]);
  }
  assert.deepEqual([...sentTitles].sort(), names.filter((name) => name !== "bad").sort());
  assert.ok(statements < 20, `${statements} statements`);
});

Deno.test("whatever is refused, lost or rolled back: each request is answered once, the guilty alone with an error", async () => {
  const guilty = fc.array(fc.boolean(), { minLength: 1, maxLength: 60 });
  const trouble = fc.array(fc.constantFrom<FailureKind | "ok">("again", "unsent", "ok", "ok"), {
    maxLength: 10,
  });
  await fc.assert(
    fc.asyncProperty(guilty, trouble, fc.integer({ min: 1, max: 3 }), async (flags, troubles, inFlight) => {
      const clock = manualClock();
      const committed = new Map<string, number>();
      const script = [...troubles];
      const store: PublishStore = {
        async send(requests) {
          await turn();
          const next = script.shift() ?? "ok";
          if (next !== "ok") throw failure(next);
          if (requests.some(({ rows }) => rows[0]!.title!.endsWith("bad"))) throw failure("refused");
          for (const { rows } of requests) {
            committed.set(rows[0]!.title!, (committed.get(rows[0]!.title!) ?? 0) + 1);
          }
          return requests.map(sent);
        },
        purge: () => Promise.resolve(0),
      };
      const made = createPublisher(store, { clock, chance: () => 0.5 }, {
        inFlight,
        patience: 1e9,
        batchRequests: 20,
      });
      const names = flags.map((bad, i) => bad ? `${i} bad` : `${i}`);
      let open = true;
      const all = Promise.allSettled(names.map((name) => made.publish(request(name)))).finally(() =>
        open = false
      );
      while (open) {
        await turn();
        clock.advance(10_000);
      }
      for (const [i, result] of (await all).entries()) {
        assert.equal(result.status, flags[i] ? "rejected" : "fulfilled");
        assert.equal(committed.get(names[i]!) ?? 0, flags[i] ? 0 : 1);
      }
    }),
    { seed: 7_301, numRuns: 200 },
  );
});

Deno.test("a rolled-back statement is tried again after a pause, until patience ends", async () => {
  for (const kind of ["again", "unsent"] as const) {
    const { publish, held, clock } = publisher({ patience: 1_000, pause: 100 });
    const result = publish(request("x"));
    held.last.fail(kind);
    await turn();
    clock.advance(49);
    assert.equal(held.statements.length, 1);
    clock.advance(100);
    await held.until(2);
    held.last.commit();
    assert.deepEqual((await result).ids, ["x"]);

    const lost = publish(request("y"));
    const rejected = assert.rejects(lost, code("unavailable", new RegExp(`said ${kind}`)));
    let open = true;
    void rejected.finally(() => open = false);
    let attempts = 0;
    for (let seen = 2; open; await turn()) {
      if (held.statements.length > seen) {
        seen = held.statements.length;
        attempts++;
        held.last.fail(kind);
        await turn();
      }
      clock.advance(200);
    }
    await rejected;
    assert.ok(attempts >= 3 && attempts <= 6, `${attempts} attempts`);
  }
});

Deno.test("an unknown outcome is repeated for requests that are safe to repeat, and told to the others", async () => {
  const { publish, held, clock } = publisher({ inFlight: 1 });
  const first = publish(request("first"));
  const plain = publish(request("plain"));
  const withKey = publish(keyed("with key", "k"));
  const deduped = publish(
    request("deduped", { rows: [{ topics: ["all"], title: "deduped", dedupe_key: "d" }] }),
  );
  const half = publish(
    request("half", {
      rows: [{ topics: ["all"], title: "a", dedupe_key: "d" }, { topics: ["all"], title: "b" }],
    }),
  );
  held.last.commit();
  await first;
  await held.until(2);
  assert.equal(held.last.requests.length, 4);
  held.last.fail("unknown");
  await Promise.all([
    assert.rejects(plain, code("unavailable", /said unknown/)),
    assert.rejects(half, code("unavailable", /said unknown/)),
  ]);
  clock.advance(1_000);
  await held.until(3);
  assert.deepEqual(held.last.requests.map(({ rows }) => rows[0]!.title), ["with key", "deduped"]);
  held.last.commit();
  assert.deepEqual((await Promise.all([withKey, deduped])).map(({ ids }) => ids), [["with key"], [
    "deduped",
  ]]);
});

Deno.test("requests with the same key never share a statement: the second waits for the first", async () => {
  const { publish, held } = publisher({ inFlight: 2 });
  const first = publish(keyed("1", "k"));
  const second = publish(keyed("2", "k"));
  const other = publish(keyed("3", "other"));
  await turn();
  assert.deepEqual(held.statements.map(({ requests }) => requests.map(({ rows }) => rows[0]!.title)), [
    ["1"],
    ["3"],
  ]);
  held.statements[0]!.fail("refused");
  await assert.rejects(first, code("invalid_request"));
  await held.until(3);
  assert.deepEqual(held.last.requests.map(({ rows }) => rows[0]!.title), ["2"]);
  held.last.commit();
  held.statements[1]!.commit();
  await Promise.all([second, other]);
});

Deno.test("a key that belongs to another request, and an answer that is missing, are errors of that request alone", async () => {
  const store: PublishStore = {
    send: () => Promise.resolve([{ outcome: "replayed", ids: ["7"] }, { outcome: "reused" }]),
    purge: () => Promise.resolve(0),
  };
  const made = createPublisher(store, { clock: manualClock(), chance: () => 0.5 }, { inFlight: 1 });
  const alone = made.publish(request("0"));
  const answers = await Promise.allSettled([
    made.publish(request("1")),
    made.publish(request("2")),
    made.publish(request("3")),
  ]);
  assert.deepEqual(await alone, { ids: ["7"], replayed: true });
  assert.deepEqual(answers.map(({ status }) => status), ["fulfilled", "rejected", "rejected"]);
  code("idempotency_key_reused")((answers[1] as PromiseRejectedResult).reason);
  code("internal")((answers[2] as PromiseRejectedResult).reason);
});

Deno.test("an error that nobody foresaw reaches every request of its statement, and the next ones are sent", async () => {
  let broken = true;
  const store: PublishStore = {
    send: (requests) =>
      broken ? Promise.reject(new TypeError("broken")) : Promise.resolve(requests.map(sent)),
    purge: () => Promise.resolve(0),
  };
  const made = createPublisher(store, { clock: manualClock(), chance: () => 0.5 });
  await Promise.all([1, 2, 3].map((n) => assert.rejects(made.publish(request(String(n))), /broken/)));
  broken = false;
  assert.deepEqual((await made.publish(request("4"))).ids, ["4"]);
});

Deno.test("stop() takes nothing new, finishes what was accepted, and start() takes again", async () => {
  const { publisher: made, publish, held } = publisher({ inFlight: 1 });
  await made.stop();
  await made.start();
  const accepted = [publish(request("1")), publish(request("2"))];
  let stopped = 0;
  const stopping = [made.stop(), made.stop()].map((stop) => stop.then(() => stopped++));
  await assert.rejects(publish(request("3")), code("restarting"));
  held.last.commit();
  await held.until(2);
  assert.equal(stopped, 0);
  held.last.commit();
  await Promise.all([...accepted, ...stopping]);
  await made.start();
  const later = publish(request("4"));
  held.last.commit();
  await later;
});
