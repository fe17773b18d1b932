/**
 * The token of whoever is signed in on the page, from the page's own server.
 * @module
 */

/** Asks there, with the page's cookies; the answer is the token as text or as `{"token"}`. */
export async function fetchToken(url: URL): Promise<string> {
  const response = await fetch(url, {
    credentials: "include",
    headers: { accept: "application/json, text/plain" },
  });
  if (!response.ok) throw new Error(`Cannot get a token: ${url.pathname} answered ${response.status}`);
  const text = await response.text();
  return text.startsWith("{") ? JSON.parse(text).token : text.trim();
}
