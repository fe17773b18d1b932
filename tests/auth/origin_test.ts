import assert from "node:assert/strict";
import { createOrigins, isOriginEntry, type RequestHead } from "../../src/auth/origin.ts";

function request(headers: Record<string, string>): RequestHead {
  return { method: "GET", url: "/v1/feed", upgrade: false, header: (name) => headers[name] };
}

const origins = createOrigins([
  "https://app.example.com",
  "https://*.example.org",
  "https://*.dev.example.net:8443",
  "http://localhost:3000",
  "https://port.example.com:443",
  "capacitor://localhost",
]);

Deno.test("an exact entry covers that origin: scheme, host and port", () => {
  assert.equal(origins.listed("https://app.example.com"), "exact");
  assert.equal(origins.listed("HTTPS://APP.example.com"), "exact");
  assert.equal(origins.listed("http://localhost:3000"), "exact");
  assert.equal(origins.listed("https://port.example.com"), "exact");
  assert.equal(origins.listed("capacitor://localhost"), "exact");
  for (
    const other of [
      "http://app.example.com",
      "https://app.example.com:8443",
      "https://app.example.com.evil.test",
      "https://evil-app.example.com",
      "http://localhost",
      "http://localhost:30000",
      "null",
      "",
    ]
  ) assert.equal(origins.listed(other), "foreign", other);
});

Deno.test("a wildcard covers one label or more, and neither the bare domain nor a look-alike", () => {
  for (const good of ["https://a.example.org", "https://a.b.example.org", "https://x.dev.example.net:8443"]) {
    assert.equal(origins.listed(good), "wildcard", good);
  }
  for (
    const bad of [
      "https://example.org",
      "https://.example.org",
      "https://evilexample.org",
      "http://a.example.org",
      "https://a.example.org:444",
      "https://a.example.org.evil.test",
      "https://evil.test/.example.org",
      "https://evil.test#.example.org",
      "https://evil.test:1.example.org",
      "https://u@a.example.org",
      "https://x.dev.example.net",
    ]
  ) assert.equal(origins.listed(bad), "foreign", bad);
});

Deno.test("a star covers every origin, as the weakest standing", () => {
  const open = createOrigins(["*", "https://app.example.com"]);
  assert.equal(open.listed("https://app.example.com"), "exact");
  assert.equal(open.listed("https://evil.test"), "any");
  assert.equal(open.listed("null"), "any");
});

Deno.test("the gateway's own origin needs no entry: by Host, or because the browser says so", () => {
  const none = createOrigins([]);
  assert.equal(none.configured, false);
  for (
    const headers of [
      { origin: "https://push.example.com", host: "push.example.com" },
      { origin: "https://push.example.com", host: "push.example.com:443" },
      { origin: "http://127.0.0.1:8080", host: "127.0.0.1:8080" },
      { origin: "http://[::1]:8080", host: "[::1]:8080" },
      { origin: "https://push.example.com", host: "upstream:8080", "sec-fetch-site": "same-origin" },
    ]
  ) assert.equal(none.standing(request(headers)), "same", JSON.stringify(headers));
  for (
    const headers of [
      { origin: "https://evil.test", host: "push.example.com" },
      { origin: "https://push.example.com:8443", host: "push.example.com" },
      { origin: "https://push.example.com", host: "upstream:8080", "sec-fetch-site": "same-site" },
      { origin: "null", host: "push.example.com" },
      { origin: "null", host: "null" },
      { origin: "https://evil.test", host: "" },
      { origin: "file://x", host: "x" },
    ]
  ) assert.equal(none.standing(request(headers)), "foreign", JSON.stringify(headers));
  assert.equal(none.standing(request({ host: "push.example.com" })), "absent");
});

Deno.test("a read without Origin is the gateway's own by Sec-Fetch-Site, or by Referer where there is none", () => {
  const host = "push.example.com";
  for (
    const [headers, expected] of [
      [{ host, "sec-fetch-site": "same-origin" }, true],
      [{ host, "sec-fetch-site": "none" }, true],
      [{ host, "sec-fetch-site": "same-site" }, false],
      [{ host, "sec-fetch-site": "cross-site", referer: "https://push.example.com/" }, false],
      [{ host, referer: "http://push.example.com/page?x=1" }, true],
      [{ host, referer: "http://evil.test/push.example.com" }, false],
      [{ host, referer: "not a url" }, false],
      [{ host }, false],
    ] as [Record<string, string>, boolean][]
  ) assert.equal(origins.ownRead(request(headers)), expected, JSON.stringify(headers));
});

Deno.test("an entry of another shape is refused by name", () => {
  const bad = [
    "app.example.com",
    "https://",
    "https://a/b",
    "https://a.*.example.com",
    "https://*",
    "null",
    "",
  ];
  for (const entry of bad) {
    assert.equal(isOriginEntry(entry), false, entry);
    assert.throws(
      () => createOrigins([entry]),
      (error: Error) => error.message.includes(JSON.stringify(entry)),
    );
  }
});
