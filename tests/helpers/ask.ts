/**
 * Asking a gateway over HTTP, as somebody's code does.
 * @module
 */

/** What it answered; `body` is absent where there was none. */
export interface Answer {
  status: number;
  // deno-lint-ignore no-explicit-any -- JSON of many shapes
  body: any;
}

/** Asks with a token, such as `PUT /v1/preferences`, with JSON as the body if one is given. */
export async function ask(
  gateway: { url: string },
  token: string,
  call: string,
  body?: unknown,
): Promise<Answer> {
  const [method = "", path = ""] = call.split(" ");
  const response = await fetch(`${gateway.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
}
