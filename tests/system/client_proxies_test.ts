import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startBrowser } from "../browser/chromium.ts";
import { rider } from "../browser/client_page.ts";
import { getThrough, walker } from "../client/through.ts";
import { testDatabase } from "../helpers/database.ts";
import { type Front, inFolder } from "../helpers/front.ts";
import { startGateway } from "../helpers/gateway.ts";
import { freePort } from "../helpers/port.ts";
import { startCommand } from "../helpers/process.ts";

type Config = (port: number, gateway: string, folder: string) => string;

/** A proxy of Debian's, in front of a gateway. */
function proxyOf(proxy: "nginx" | "haproxy", config: Config, gateway: string): Promise<Front> {
  const port = freePort();
  return inFolder("proxy", async (folder) => {
    const file = join(folder, "proxy.conf");
    await writeFile(file, config(port, new URL(gateway).host, folder));
    const process = proxy === "nginx"
      ? startCommand("/usr/sbin/nginx", ["-p", folder, "-e", "stderr", "-c", file])
      : startCommand("/usr/sbin/haproxy", ["-db", "-f", file]);
    return { port, process, stop: "SIGTERM" };
  });
}

const nginx = (location: string): Config => (port, gateway, folder) => `
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://${gateway};
      ${location}
    }
  }
}
`;

const haproxy: Config = (port, gateway) => `
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:${port}
  default_backend back
backend back
  server gateway ${gateway}
`;

interface Scene {
  name: string;
  proxy: "nginx" | "haproxy";
  config: Config;
  count: number;
  pause: number;
  used: string[];
}

const SCENES: Scene[] = [
  {
    name: "nginx as it comes, over events",
    proxy: "nginx",
    config: nginx(""),
    count: 12,
    pause: 250,
    used: ["sse"],
  },
  {
    name: "an nginx that buffers whatever it is asked, by long-poll",
    proxy: "nginx",
    config: nginx("proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"),
    count: 12,
    pause: 250,
    used: ["longpoll"],
  },
  {
    name: "an nginx that passes upgrades, over one WebSocket",
    proxy: "nginx",
    config: nginx(
      'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";',
    ),
    count: 12,
    pause: 250,
    used: ["websocket"],
  },
  {
    name: "a haproxy that ends what is silent for 30 s, over one WebSocket that never is",
    proxy: "haproxy",
    config: haproxy,
    count: 2,
    pause: 40_000,
    used: ["websocket"],
  },
];

for (const { name, proxy, config, count, pause, used } of SCENES) {
  Deno.test(`the client gets through ${name}, under Deno and in Chromium`, async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    await using browser = await startBrowser();
    browser.expected.push(/WebSocket connection|Failed to load resource/);
    const context = await browser.context();
    await using front = await proxyOf(proxy, config, gateway.url);
    const url = `http://127.0.0.1:${front.port}`;
    await using ride = await rider(context, url, gateway);
    await using walk = walker(url, gateway);
    await getThrough([walk, ride], database, { count, pause });
    assert.deepEqual(await walk.used(), used, walk.name);
    assert.deepEqual(await ride.used(), used, ride.name);
  });
}
