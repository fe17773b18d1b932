/**
 * What a schema found wrong, by field, as every problem reports it. Pure.
 * @module
 */
import type { z } from "@hono/zod-openapi";
import { type FieldError, TidingsError } from "../errors.ts";

/** The most violations that are reported at once. */
export const MAX_VIOLATIONS = 20;

type Issue = z.core.$ZodIssue;

/** The violations in a schema's error: paths joined by dots, unknown fields by their own name. */
export function violations(error: z.core.$ZodError, prefix: readonly PropertyKey[] = []): FieldError[] {
  return error.issues.flatMap((issue) => ofIssue(issue, prefix)).slice(0, MAX_VIOLATIONS);
}

/** The one error for all of them. `act` is what could not be done: "send". */
export function invalid(act: string, errors: readonly FieldError[]): TidingsError {
  const first = errors[0];
  const what = first === undefined
    ? "it is not valid"
    : first.field === ""
    ? first.message
    : `${first.field}: ${first.message}`;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : "";
  return new TidingsError("invalid_request", `Cannot ${act}: ${what}${more}`, { errors: [...errors] });
}

function ofIssue(issue: Issue, prefix: readonly PropertyKey[]): FieldError[] {
  const path = [...prefix, ...issue.path];
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ field: join([...path, key]), message: "is not a known field" }));
  }
  if (issue.code === "invalid_union") {
    // the alternative that the input comes closest to
    const best = issue.errors.toSorted((a, b) => closeness(b) - closeness(a) || a.length - b.length)[0];
    if (best !== undefined && closeness(best) > 0) return best.flatMap((inner) => ofIssue(inner, path));
  }
  return [{ field: join(path), message: issue.message }];
}

/** How far an alternative got: 0 when the input is not even of its type. */
function closeness(issues: readonly Issue[]): number {
  const depths = issues.map(({ code, path }) =>
    path.length + (code === "invalid_type" || code === "invalid_union" ? 0 : 1)
  );
  return Math.max(0, ...depths);
}

function join(path: readonly PropertyKey[]): string {
  return path.map((part) => clip(String(part))).join(".");
}

/** A field's name comes from outside. */
function clip(name: string): string {
  return name.length <= 60 ? name : `${name.slice(0, 60)}…`;
}
