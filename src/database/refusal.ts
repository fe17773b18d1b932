/**
 * What SQL functions refuse, in the words of the interface: their messages are written for whoever called the API.
 * @module
 */
import { type ErrorCode, type FieldError, TidingsError } from "../errors.ts";
import { sqlState } from "./postgres.ts";

/** Codes by the SQLSTATE that is raised. */
const RAISED: Record<string, ErrorCode | undefined> = {
  TD404: "not_found",
  "22023": "invalid_request",
  "22007": "invalid_request",
  "22008": "invalid_request",
  "23514": "invalid_request",
  "22003": "not_found",
  "54000": "conflict",
};

/** The result; @throws {TidingsError} with the code, and the field where one is named, for what a function refused */
export async function named<T>(result: Promise<T>): Promise<T> {
  try {
    return await result;
  } catch (error) {
    const state = sqlState(error);
    const code = state === undefined ? undefined : RAISED[state];
    if (code === undefined) throw error;
    const { message } = error as Error;
    if (state === "22003") {
      throw new TidingsError("not_found", "Cannot mark: ids: there is none so high", { cause: error });
    }
    throw new TidingsError(code, message, { cause: error, ...fieldOf(message) });
  }
}

/** `Cannot mark: ids: expected up to 1000` names its field. */
function fieldOf(message: string): { errors?: FieldError[] } {
  const match = /^Cannot [a-z ]+: ([A-Za-z_]+): (.*)$/s.exec(message);
  return match === null ? {} : { errors: [{ field: match[1] ?? "", message: match[2] ?? "" }] };
}
