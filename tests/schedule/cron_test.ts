import assert from "node:assert/strict";
import fc from "fast-check";
import { TidingsError } from "../../src/errors.ts";
import { checkRecurrence, isTimezone, nextDue } from "../../src/schedule/cron.ts";

const ZONES = [
  "Europe/Berlin",
  "America/New_York",
  "Australia/Lord_Howe",
  "Asia/Kathmandu",
  "America/Santiago",
  "UTC",
];
const YEAR = [Date.parse("2026-01-01T00:00:00Z"), Date.parse("2027-01-01T00:00:00Z")] as const;

/** All times in [from, to). */
function times(cron: string, timezone: string, from: number, to: number): number[] {
  const result: number[] = [];
  for (
    let at = nextDue({ cron, timezone }, from - 1);
    at !== undefined && at < to;
    at = nextDue({ cron, timezone }, at)
  ) {
    result.push(at);
  }
  return result;
}

/** Formatters by zone: making one is what is slow. */
const formats = new Map<string, Intl.DateTimeFormat>();

/** The wall clock: `2026-03-29 02:30`. */
function wall(at: number, timeZone: string): string {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("sv", { timeZone, dateStyle: "short", timeStyle: "short" });
    formats.set(timeZone, format);
  }
  return format.format(at);
}

Deno.test("nextDue() keeps a daily time for a whole year in every zone: once a day, at that time, or at the end of a gap", () => {
  for (const zone of ZONES) {
    for (const [hour, minute] of [[0, 0], [1, 30], [2, 15], [2, 30], [3, 0], [8, 0], [23, 59]] as const) {
      const all = times(`${minute} ${hour} * * *`, zone, ...YEAR);
      const days = all.map((at) => wall(at, zone).slice(0, 10));
      assert.equal(new Set(days).size, all.length, `${zone}: one a day`);
      assert(all.length >= 364 && all.length <= 366, `${zone} ${hour}:${minute}: ${all.length}`);
      const asked = `${String(hour).padStart(2, "0")}:${String(minute).padStart(2, "0")}`;
      for (const at of all) {
        const shown = wall(at, zone).slice(11);
        if (shown === asked) {
          // of two moments with the same wall clock the first
          assert.notEqual(wall(at - 3_600_000, zone), wall(at, zone));
          assert.notEqual(wall(at - 1_800_000, zone), wall(at, zone));
        } else {
          // the time is skipped: the minute before is on the other side of the gap
          const missing = `${wall(at, zone).slice(0, 10)} ${asked}`;
          assert(wall(at - 60_000, zone) < missing && asked < shown, `${zone}: ${asked} became ${shown}`);
        }
      }
    }
  }
});

Deno.test("nextDue() across both changes of 2026, in three zones", () => {
  const cases: [string, string, string, string[]][] = [
    ["30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]],
    ["30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]],
    ["30 2,14 * * *", "Europe/Berlin", "2026-10-24T22:00Z", ["2026-10-25T00:30Z", "2026-10-25T13:30Z"]],
    ["0 9 * * *", "America/New_York", "2026-03-07T15:00Z", ["2026-03-08T13:00Z", "2026-03-09T13:00Z"]],
    ["30 1 * * *", "America/New_York", "2026-10-31T12:00Z", ["2026-11-01T05:30Z", "2026-11-02T06:30Z"]],
    ["15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00Z", ["2026-10-03T15:30Z", "2026-10-04T15:15Z"]],
    ["45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00Z", ["2026-04-04T14:45Z", "2026-04-05T15:15Z"]],
  ];
  for (const [cron, timezone, from, expected] of cases) {
    let at = Date.parse(from);
    for (const next of expected) {
      at = nextDue({ cron, timezone }, at) ?? assert.fail("never");
      assert.equal(new Date(at).toISOString(), new Date(next).toISOString(), `${timezone} ${cron}`);
    }
  }
});

Deno.test("nextDue() of an interval neither pauses nor doubles, whatever the clocks do", () => {
  for (const zone of ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]) {
    const halves = times("*/30 * * * *", zone, ...YEAR);
    assert.equal(halves.length, 365 * 48, zone);
    assert(halves.every((at, index) => at === YEAR[0] + index * 1_800_000), zone);
  }
});

Deno.test("nextDue() is always later, on the asked weekday and second, and knows the 29th of February", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: YEAR[0], max: YEAR[1] }),
      fc.constantFrom(...ZONES),
      fc.nat(59),
      (after, timezone, second) => {
        const next = nextDue({ cron: `${second} 30 8 * * MON`, timezone }, after) ?? assert.fail("never");
        assert(next > after && next - after <= 8 * 86_400_000);
        assert.equal(new Date(next).toLocaleString("en", { timeZone: timezone, weekday: "short" }), "Mon");
        assert.equal(Math.floor(next / 1000) % 60, second);
      },
    ),
    { seed: 20_260_329, numRuns: 500 },
  );
  assert.equal(nextDue({ cron: "0 0 29 2 *", timezone: "UTC" }, YEAR[0]), Date.parse("2028-02-29T00:00:00Z"));
});

Deno.test("checkRecurrence() names the field that is wrong, and what was expected", () => {
  const wrong: [string, string, string][] = [
    ["0 8 * *", "UTC", "cron"],
    ["0 8 * * * * *", "UTC", "cron"],
    ["61 8 * * *", "UTC", "cron"],
    ["not a cron at all", "UTC", "cron"],
    ["", "UTC", "cron"],
    [`0 8 * * ${"1,".repeat(200)}1`, "UTC", "cron"],
    ["0 0 31 2 *", "UTC", "cron"],
    ["0 8 * * *", "Europe/Atlantis", "timezone"],
    ["0 8 * * *", "", "timezone"],
    ["0 8 * * *", "'; drop table x", "timezone"],
  ];
  for (const [cron, timezone, field] of wrong) {
    assert.throws(() => checkRecurrence({ cron, timezone }, YEAR[0]), (error) => {
      assert(error instanceof TidingsError);
      assert.equal(error.details.errors?.[0]?.field, field, `${cron} ${timezone}`);
      return true;
    });
  }
  checkRecurrence({ cron: "0 8 * * 1-5", timezone: "Europe/Berlin" }, YEAR[0]);
  checkRecurrence({ cron: "*/5 * * * * *", timezone: "UTC" }, YEAR[0]);
  checkRecurrence({ cron: "@daily", timezone: "UTC" }, YEAR[0]);
  assert(
    isTimezone("America/Argentina/Buenos_Aires") && !isTimezone("+25:99") && !isTimezone("x".repeat(500)),
  );
});
