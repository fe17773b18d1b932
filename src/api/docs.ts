/**
 * `/docs`: the OpenAPI document as one page, without scripts and without anything from elsewhere.
 * @module
 */
import { createHash } from "node:crypto";
import { html, raw } from "hono/html";

/** The part of an OpenAPI document that is shown. */
interface Document {
  info: { title: string; version: string; description?: string };
  paths?: Record<string, Record<string, unknown>>;
  components?: { schemas?: Record<string, unknown> };
}

interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema?: Schema }[];
  requestBody?: { description?: string; content: Record<string, { schema?: Schema }> };
  responses?: Record<string, { description?: string; content?: Record<string, { schema?: Schema }> }>;
}

interface Schema {
  $ref?: string;
  type?: string | string[];
  description?: string;
  enum?: unknown[];
  const?: unknown;
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  required?: string[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  example?: unknown;
  maxLength?: number;
}

const METHODS = ["get", "put", "post", "patch", "delete"];

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 2.5rem; font-size: 1.15rem; border-bottom: 1px solid #8886; padding-bottom: .3rem; overflow-wrap: anywhere; }
h2 b { text-transform: uppercase; margin-right: .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .2rem; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid #8884; padding: .25rem .8rem .25rem 0; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { width: 14rem; }
code { font: .9em/1.4 ui-monospace, monospace; background: #8882; border-radius: .2rem; padding: 0 .2rem; }
small { opacity: .75; }
`;

/** What the page may load: its own style. */
export const DOCS_POLICY = `default-src 'none'; style-src 'sha256-${
  createHash("sha256").update(STYLE).digest("base64")
}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** The page of a document. */
export async function docsPage(document: object): Promise<string> {
  const { info, paths = {}, components = {} } = document as Document;
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    METHODS.filter((method) => method in item).map((method) => ({
      method,
      path,
      operation: item[method] as Operation,
    }))
  );
  return String(
    await html`
      <!doctype html>
      <html lang="en">
        <head>
          <meta charset="utf-8">
          <meta name="viewport" content="width=device-width, initial-scale=1">
          <title>${info.title} ${info.version}</title>
          <style>${raw(STYLE)}</style>
        </head>
        <body>
          <h1>${info.title} <small>${info.version}</small></h1>
          <p>${prose(info.description)} The document itself is <a href="/openapi.json">/openapi.json</a>.</p>
          <nav>
            <ul>${operations.map(link)}</ul>
          </nav>
          <main>${operations.map(section)}
      ${Object.entries(components.schemas ?? {}).map(([name, schema]) =>
        html`<h2 id="schema-${name}">${name}</h2>${fields(schema as Schema)}`
      )}</main>
        </body>
      </html>
    `,
  );
}

interface Entry {
  method: string;
  path: string;
  operation: Operation;
}

function anchor({ method, path }: Entry): string {
  return `${method}${path.replaceAll(/[^A-Za-z0-9]+/g, "-")}`;
}

function link(entry: Entry) {
  return html`<li><a href="#${anchor(entry)}"><code>${entry.method.toUpperCase()} ${entry.path}</code></a> ${
    entry.operation.summary ?? ""
  }</li>`;
}

function section(entry: Entry) {
  const { operation } = entry;
  return html`
    <h2 id="${anchor(entry)}"><b>${entry.method}</b><code>${entry.path}</code></h2>
    <p><strong>${operation.summary ?? ""}</strong></p>
    <p>${prose(operation.description)}</p>
    ${operation.parameters === undefined ? "" : html`
      <h3>Parameters</h3>
      <table>${operation.parameters.map(({ name, in: place, required, description, schema }) =>
        html`
          <tr>
            <td><code>${name}</code> <small>${place}${required ? ", required" : ""}</small></td>
            <td>${kind(schema)} ${prose(description ?? schema?.description)}</td>
          </tr>
        `
      )}</table>
    `}
    ${operation.requestBody === undefined
      ? ""
      : html`<h3>Body</h3><p>${prose(operation.requestBody.description)}</p>${
        content(operation.requestBody.content)
      }`}
    <h3>Answers</h3><table>${Object.entries(operation.responses ?? {}).map((
      [status, { description, content: body }],
    ) =>
      html`
        <tr>
          <td><code>${status}</code></td>
          <td>${prose(description)} ${Object.entries(body ?? {}).map(([media, { schema }]) =>
            html`
              <small>${media}</small> ${kind(schema)}
            `
          )}</td>
        </tr>
      `
    )}</table>
  `;
}

function content(types: Record<string, { schema?: Schema }>) {
  return Object.entries(types).map(([media, { schema }]) =>
    html`<p><small>${media}</small> ${kind(schema)}</p>`
  );
}

function fields(schema: Schema) {
  const { properties, required = [] } = schema;
  if (properties === undefined) return html`<p>${kind(schema)}</p>`;
  return html`<table>${
    Object.entries(properties).map(([name, field]) =>
      html`
        <tr>
          <td><code>${name}</code>${required.includes(name)
            ? html`
              <small>required</small>
            `
            : ""}</td>
          <td>${kind(field)} ${prose(field.description)}</td>
        </tr>
      `
    )
  }</table>`;
}

/** A schema in a few words. */
function kind(schema: Schema | undefined): ReturnType<typeof html> | string {
  if (schema === undefined) return "";
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split("/").at(-1) ?? "";
    return html`<a href="#schema-${name}">${name}</a>`;
  }
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) {
    return html`${choices.map((choice, i) => html`${i > 0 ? " or " : ""}${kind(choice)}`)}`;
  }
  if (schema.items !== undefined) return html`list of ${kind(schema.items)}`;
  const values = schema.const === undefined ? schema.enum : [schema.const];
  if (values !== undefined) {
    return html`${
      values.map((value) =>
        html`
          <code>${String(value)}</code>
        `
      )
    }`;
  }
  const type = [schema.type ?? "anything"].flat().join(" or ");
  return html`<small>${type}${schema.maxLength === undefined ? "" : `, at most ${schema.maxLength}`}</small>`;
}

/** Text with `code` in backticks. */
function prose(text: string | undefined) {
  const parts = (text ?? "").split("`");
  return html`${parts.map((part, index) => index % 2 === 1 ? html`<code>${part}</code>` : part)}`;
}
