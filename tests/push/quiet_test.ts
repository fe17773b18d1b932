import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";

/** Zones north and south, one whose clocks change by half an hour, and one whose never do. */
const ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Seoul"];

/** Days on which clocks change in one of them, in 2026. */
const CHANGES = ["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"];

Deno.test("quiet hours follow the wall clock for a whole year, over both changes of the clocks", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  // through the year in steps that meet every minute of the day, and closely around every change
  await sql.unsafe(`create table moment as
    select moment from generate_series('2026-01-01Z'::timestamptz, '2027-01-01Z', interval '5 hours 7 minutes') moment
    union select moment from unnest('{${CHANGES}}'::timestamptz[]) day,
      generate_series(day - interval '1 day', day + interval '2 days', interval '15 minutes') moment`);
  for (const zone of ZONES) {
    // over midnight; within a day; and ending in the hour that a change leaves out or repeats
    for (const [start, end] of [["22:00", "07:00"], ["12:30", "14:00"], ["23:00", "02:15"]] as const) {
      await sql`select tidings.set_quiet_hours('ann', ${start}, ${end}, ${zone})`;
      const wrong = await sql`
        select moment, quiet from (
          select moment, tidings.quiet_until('ann', moment) as quiet, (moment at time zone ${zone})::time as wall
          from moment offset 0) m
        where (quiet is not null) is distinct from case when ${start}::time < ${end}::time
            then wall >= ${start}::time and wall < ${end}::time
            else wall >= ${start}::time or wall < ${end}::time end
          or quiet <= moment - interval '1 hour' or quiet > moment + interval '11 hours'
          -- ends at that time, or an hour's change beside it where that time is left out
          or abs(extract(epoch from (quiet at time zone ${zone})::time - ${end}::time)) > 3600`;
      assert.deepEqual([...wrong], [], `${zone} ${start} to ${end}`);
    }
  }
});
