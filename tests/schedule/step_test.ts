import assert from "node:assert/strict";
import fc from "fast-check";
import { nextDue } from "../../src/schedule/cron.ts";
import { MISSED_AFTER, stepOf } from "../../src/schedule/step.ts";

const YEAR = [Date.parse("2026-01-01T00:00:00Z"), Date.parse("2027-01-01T00:00:00Z")] as const;
const DAY = 86_400_000;

/** Lets the clock run through a year; `asleep` are spans without any gateway. Returns when it was sent. */
function live(
  cron: string,
  timezone: string,
  missed: "send" | "skip",
  asleep: [number, number][] = [],
): number[] {
  const sent: number[] = [];
  let due = stepOf({ id: "1", cron, timezone, missed, now: YEAR[0] }).next ?? assert.fail("no first time");
  for (let now = due; now < YEAR[1]; now = due) {
    for (const [from, to] of asleep) if (now >= from && now < to) now = to;
    const step = stepOf({ id: "1", cron, timezone, missed, due, now });
    assert.equal(step.seen, due);
    if (step.sending) sent.push(now);
    due = step.next ?? assert.fail("it ended");
    assert(due > now || now - due < MISSED_AFTER);
  }
  return sent;
}

Deno.test("a year of daily questions: one each day at the family's own hour, in zones on both sides of the world", () => {
  for (const zone of ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Seoul"]) {
    const sent = live("30 7 * * *", zone, "send");
    assert(sent.length === 365 || sent.length === 366);
    assert(
      sent.every((at) => new Date(at).toLocaleTimeString("sv", { timeZone: zone }) === "07:30:00"),
      zone,
    );
  }
});

Deno.test("what was missed while everything was down is sent once, or skipped, as the schedule says", () => {
  const asleep: [number, number][] = [[Date.parse("2026-03-20T12:00Z"), Date.parse("2026-04-02T12:00Z")]];
  const sends = live("30 7 * * *", "Europe/Berlin", "send", asleep);
  const skips = live("30 7 * * *", "Europe/Berlin", "skip", asleep);
  const within = (all: number[], [from, to]: [number, number]) => all.filter((at) => at > from && at <= to);
  assert.deepEqual(within(sends, asleep[0]!), [asleep[0]![1]]);
  assert.deepEqual(within(skips, asleep[0]!), []);
  assert.equal(sends.length, skips.length + 1);
  for (const all of [sends, skips]) {
    const next = all.find((at) => at > asleep[0]![1]);
    assert.equal(next, Date.parse("2026-04-03T05:30:00Z"));
  }
});

Deno.test("stepOf() for any schedule, zone and delay: what is in time is sent, the next time is never skipped and never in the past of a missed one", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: YEAR[0], max: YEAR[1] }),
      fc.constantFrom(
        "* * * * *",
        "*/7 * * * *",
        "30 2 * * *",
        "0 9 * * MON",
        "15 8 1 * *",
        "*/10 * * * * *",
      ),
      fc.constantFrom("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"),
      fc.oneof(fc.nat(MISSED_AFTER), fc.nat(40 * DAY)),
      fc.constantFrom("send" as const, "skip" as const),
      (start, cron, timezone, late, missed) => {
        const due = nextDue({ cron, timezone }, start) ?? assert.fail();
        const step = stepOf({ id: "1", cron, timezone, missed, due, now: due + late });
        const next = step.next ?? assert.fail();
        assert.equal(step.failure, null);
        assert(next > due);
        if (late <= MISSED_AFTER) {
          assert.equal(step.sending, true);
          assert.equal(next, nextDue({ cron, timezone }, due));
        } else {
          assert.equal(step.sending, missed === "send");
          assert(next > due + late);
          assert.equal(next, nextDue({ cron, timezone }, due + late));
        }
      },
    ),
    { seed: 770_077, numRuns: 1_000 },
  );
});
