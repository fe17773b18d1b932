/**
 * `deno task bench [name…]`: runs the benchmarks one after the other, prints the machine and every figure with its limit, and
 * ends with 1 when one is not kept. The results of the last run are kept in `tests/bench/results.json`.
 * @module
 */
import { readFile, writeFile } from "node:fs/promises";
import { readdir } from "node:fs/promises";
import { type Benchmark, type Figure, keeps, machine } from "./bench.ts";

const RESULTS = new URL("results.json", import.meta.url);

const files = (await readdir(new URL(".", import.meta.url))).filter((file) => file.endsWith("_bench.ts"))
  .sort();
const wanted = Deno.args;
const unknown = wanted.filter((name) => !files.includes(`${name}_bench.ts`));
if (unknown.length > 0) {
  console.error(
    `There is no benchmark ${unknown.join(", ")}; there are ${
      files.map((file) => file.replace("_bench.ts", "")).join(", ")
    }`,
  );
  Deno.exit(1);
}

console.log(machine());
const figures: Record<string, Figure[]> = {};
for (const file of files) {
  const name = file.replace("_bench.ts", "");
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const { benchmark } = await import(`./${file}`) as { benchmark: Benchmark };
  console.log(`\n${benchmark.name}`);
  await benchmark.run((figure) => {
    (figures[name] ??= []).push(figure);
    console.log(`  ${line(figure)}`);
  });
}
await keep();
const missed = Object.values(figures).flat().filter((figure) => !keeps(figure));
console.log(
  `\n${
    missed.length === 0
      ? "Every limit is kept"
      : `${missed.length} not kept: ${missed.map(({ name }) => name).join("; ")}`
  }`,
);
Deno.exit(missed.length === 0 ? 0 : 1);

function line(figure: Figure): string {
  const { name, value, unit, limit, from } = figure;
  const bound = limit === undefined
    ? ""
    : "least" in limit
    ? ` (at least ${limit.least})`
    : ` (at most ${limit.most})`;
  const shown = value >= 1_000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3));
  return `${keeps(figure) ? " " : "!"} ${name}: ${shown} ${unit}${bound}${
    from === undefined ? "" : ` — ${from}`
  }`;
}

/** What ran this time replaces what was kept of it; of a benchmark that is no more, nothing is kept. */
async function keep(): Promise<void> {
  let before: Record<string, unknown> = {};
  try {
    before = JSON.parse(await readFile(RESULTS, "utf8"));
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
  }
  const here = machine();
  const kept = Object.fromEntries(
    files.map((file) => file.replace("_bench.ts", "")).flatMap((name) => {
      const now = figures[name] === undefined ? before[name] : { machine: here, figures: figures[name] };
      return now === undefined ? [] : [[name, now]];
    }),
  );
  await writeFile(RESULTS, `${JSON.stringify(kept, null, 2)}\n`);
}
