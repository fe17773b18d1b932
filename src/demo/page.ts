/**
 * The demo's page: two members side by side, everything that their connections do in sight.
 * @module
 */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { systemClock } from "../clock.ts";
import "../client/bell.ts";
import { connect, type Snapshot, type TidingsClient, type Transport, TRANSPORTS } from "../client/mod.ts";
import { realWorld } from "../client/world.ts";
import { type Action, ACTIONS, isJob, type Member, NAMES, written } from "./actions.ts";
import { Network } from "./network.ts";

const LABELS: Record<Transport, string> = { websocket: "WebSocket", sse: "SSE", longpoll: "Long-poll" };
/** Frames that are shown. */
const FRAMES = 40;
/** Milliseconds between two steps of the coach. */
const STEP = 500;

interface Seen {
  n: number;
  direction: "in" | "out";
  transport: Transport;
  text: string;
}

/** One member: a client, a bell, what can be done, and what travels. */
class DemoMember extends LitElement {
  static override properties = { member: {}, shown: { state: true } };
  declare member: Member;
  /** The action whose statement is shown. */
  declare shown: Action;
  readonly #network = new Network();
  #client: TidingsClient | undefined;
  #forced: Transport | undefined;
  #snapshot: Snapshot = { state: "idle" };
  #frames: Seen[] = [];
  #n = 0;
  #error = "";

  constructor() {
    super();
    this.shown = ACTIONS[0]!;
  }

  /** No shadow: the page's style is the member's. */
  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#open();
  }

  protected override render(): TemplateResult {
    const { member } = this;
    const { state, transport, cursor } = this.#snapshot;
    const name = NAMES[member];
    const live = state === "live" || state === "probing";
    return html`
      <header class="who">
        <span class="face m${member}" aria-hidden="true">${name[0]}</span>
        <div><h2>${name}</h2>
          <p class="state"><span class="light ${live ? "on" : ""}"></span>
            ${live && transport
              ? `live over ${LABELS[transport]}`
              : this.#client
              ? this.#network.up ? state : "no network, trying"
              : "tab closed"}</p></div>
        ${this.#client
          ? html`<tidings-bell .client=${this.#client} toast-seconds="3"></tidings-bell>`
          : html`<span class="gone">closed</span>`}
      </header>
      <section aria-label="What ${name} does">
        <div class="do">
          ${ACTIONS.map((action) =>
            html`
              <button class=${action === this.shown ? "chosen" : ""} @click=${() => this.#act(action)}
                @pointerenter=${() => this.shown = action} @focus=${() => this.shown = action}>${action
                  .label}</button>
            `
          )}
        </div>
        <pre class="sql" tabindex="0" aria-label="The statement">${colour(written(this.shown, member))}</pre>
        ${this.#error === "" ? nothing : html`<p class="error" role="alert">${this.#error}</p>`}
      </section>
      <section class="net" aria-label="The connection of ${name}">
        <div class="switch" role="group" aria-label="Transport">
          ${[undefined, ...TRANSPORTS].map((each) =>
            html`<button aria-pressed=${this.#forced === each ? "true" : "false"} @click=${() =>
              this.#force(each)}>
            ${each === undefined ? "Best" : LABELS[each]}</button>`
          )}
        </div>
        <div class="switch">
          <button aria-pressed=${this.#network.up ? "false" : "true"} @click=${this.#toggleNetwork}>
            ${this.#network.up ? "Cut the network" : "Mend the network"}</button>
          <button aria-pressed=${this.#client ? "false" : "true"} @click=${this.#toggleClient}>
            ${this.#client ? "Close the tab" : "Open it again"}</button>
        </div>
      </section>
      <section aria-label="Frames of ${name}">
        <p class="cursor">cursor <code>${cursor ?? "none yet"}</code></p>
        <ol class="frames" tabindex="0" aria-label="Frames">
          ${this.#frames.map(({ direction, transport, text }) =>
            html`<li class=${direction}><abbr title=${LABELS[transport]}>${
              direction === "in" ? "↓" : "↑"
            }</abbr><code>${text}</code></li>`
          )}
        </ol>
      </section>
    `;
  }

  #open(): void {
    const { member } = this;
    const network = this.#network;
    const client = connect({
      getToken: async () => {
        const response = await network.fetch(`/demo/token?member=${member}`);
        if (!response.ok) throw new Error((await response.json()).detail);
        return await response.text();
      },
      transports: this.#forced === undefined ? TRANSPORTS : [this.#forced],
      user: member,
      tabs: false,
      fetch: network.fetch,
      WebSocket: network.WebSocket,
      world: network.world(realWorld(systemClock)),
    });
    client.on("state", (snapshot) => {
      this.#snapshot = snapshot;
      this.requestUpdate();
    });
    client.on("item", () => this.#stand());
    client.on("frame", ({ direction, transport, frame }) => {
      if (frame.op === "cursor") this.#stand();
      const text = JSON.stringify(
        frame.op === "hello" || frame.op === "auth" ? { ...frame, token: "…" } : frame,
      );
      this.#frames = [{ n: ++this.#n, direction, transport, text }, ...this.#frames].slice(0, FRAMES);
      this.requestUpdate();
    });
    this.#client = client;
  }

  #stand(): void {
    if (this.#client !== undefined) this.#snapshot = this.#client.snapshot;
  }

  #close(): void {
    this.#client?.close();
    this.#client = undefined;
    this.#snapshot = { ...this.#snapshot, state: "closed" };
    this.requestUpdate();
  }

  #force(transport: Transport | undefined): void {
    this.#forced = transport;
    this.#close();
    this.#open();
  }

  readonly #toggleNetwork = () => {
    if (this.#network.up) this.#network.cut();
    else this.#network.mend();
    this.requestUpdate();
  };

  readonly #toggleClient = () => {
    if (this.#client === undefined) this.#open();
    else this.#close();
    this.requestUpdate();
  };

  async #act(action: Action): Promise<void> {
    this.shown = action;
    this.#error = "";
    const steps = isJob(action) ? [0.1, 0.3, 0.5, 0.7, 0.9, 1] : [0];
    try {
      for (const [index, progress] of steps.entries()) {
        if (index > 0) await systemClock.sleep(STEP);
        await this.#run(action, progress);
      }
    } catch (error) {
      this.#error = error instanceof Error ? error.message : String(error);
    }
    this.requestUpdate();
  }

  /** By the page's own network: a member without one can still be told of. */
  async #run(action: Action, progress: number): Promise<void> {
    const response = await fetch("/demo/run", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ action: action.name, member: this.member, progress }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    if (answer.rows === 0 && action.nothing !== undefined) throw new Error(action.nothing);
  }
}

/** Keywords and texts of a statement, told apart. */
function colour(sql: string): unknown[] {
  return sql.split(
    /('[^']*'|\b(?:insert into|values|update|set|where|select|delete from|from|returning|and|or|order by|limit|having|max|in|is|null|true|not|on conflict|do nothing)\b)/i,
  )
    .map((part, index) =>
      index % 2 === 0 ? part : html`<span class=${part.startsWith("'") ? "text" : "word"}>${part}</span>`
    );
}

customElements.define("demo-member", DemoMember);
