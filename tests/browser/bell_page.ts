/**
 * A page with a bell on it, served by a scripted gateway.
 * @module
 */
import { bundleScript } from "../../src/api/bundle.ts";
import type { ScriptedGateway } from "../client/scripted_gateway.ts";

const bell = bundleScript("src/client/bell.ts");
const client = bundleScript("src/client/mod.ts");

/** Puts `/`, `/bell.js` and `/client.js` onto the gateway. `attributes` go into the element. */
export async function serveBell(gateway: ScriptedGateway, attributes: string, html = ""): Promise<void> {
  const page = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
    <meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
    <style>:root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; margin: 0 }
      header { display: flex; justify-content: space-between; align-items: center; padding: .5rem 1rem;
        border-block-end: 1px solid #8884 } main { padding: 1rem; min-block-size: 40rem }</style>
    <script type="module" src="/bell.js"></script></head>
    <body><header><h1 style="font-size:1.1rem">Tidings</h1><tidings-bell ${attributes}></tidings-bell></header>
    <main>${html}<p>A page of somebody's.</p></main></body></html>`;
  gateway.files.set("/", { type: "text/html; charset=utf-8", body: page });
  gateway.files.set("/bell.js", { type: "text/javascript", body: await bell });
  gateway.files.set("/client.js", { type: "text/javascript", body: await client });
}
