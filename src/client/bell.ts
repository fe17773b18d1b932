/**
 * `<tidings-bell>`: a bell with a badge, a panel with the inbox, and toasts. One script tag and one element:
 *
 * ```html
 * <script type="module" src="https://tidings.example/bell.js"></script>
 * <tidings-bell token-url="/notifications/token"></tidings-bell>
 * ```
 *
 * Holds: what comes from a notification is text, never markup, and its link is followed only when it is safe; permission is
 * asked only on a click; everything can be done with the keyboard and is said to a screen reader.
 * @module
 */
import { type CSSResult, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { systemClock } from "../clock.ts";
import type { Item } from "../notification.ts";
import type { InboxCount } from "../protocol.ts";
import { alertOf, askPermission, chime } from "./bell_alert.ts";
import { focusBell, focusPanel, handOn, moveFocus } from "./bell_focus.ts";
import { BellInbox } from "./bell_inbox.ts";
import { safeLink } from "./bell_link.ts";
import { type BellActs, panelOf, type Shown, toastOf } from "./bell_panel.ts";
import { style } from "./bell_style.ts";
import { type BellTexts, shipped, textsFor } from "./bell_texts.ts";
import { Toasts } from "./bell_toasts.ts";
import { fetchToken } from "./bell_token.ts";
import { ICONS } from "./bell_view.ts";
import type { TidingsClient } from "./client.ts";
import type { GetToken } from "./credentials.ts";
import type { InboxItem } from "./inbox.ts";
import { connect } from "./mod.ts";

export { connect } from "./mod.ts";
export { type BellTexts, TEXTS } from "./bell_texts.ts";

/** Milliseconds between two looks at the inbox while notifications pour in. */
const GATHER = 150;
/** What is older than this many milliseconds as it arrives was missed: it is in the inbox and makes no noise. */
const FRESH = 60_000;

/** The element. Fires `tidings-item` for each notification and a cancelable `tidings-open` when one is opened. */
export class TidingsBell extends LitElement {
  static override styles: CSSResult[] = style;
  static override properties = {
    url: {},
    token: {},
    tokenUrl: { attribute: "token-url" },
    topics: {},
    user: {},
    toastSeconds: { attribute: "toast-seconds", type: Number },
    pageSize: { attribute: "page-size", type: Number },
    sound: {},
    language: { attribute: "lang" },
    noTabs: { attribute: "no-tabs", type: Boolean },
    texts: { attribute: false },
    getToken: { attribute: false },
    client: { attribute: false },
    open: { type: Boolean, reflect: true },
  };

  /** The gateway. @default where this script came from */
  declare url: string | undefined;
  declare token: string | undefined;
  /** Gives a token, as text or as `{"token"}`, to whoever is signed in on this page. */
  declare tokenUrl: string | undefined;
  /** Topics beyond the person's own, separated by commas. */
  declare topics: string | undefined;
  declare user: string | undefined;
  /** 0: no toasts. @default 2 */
  declare toastSeconds: number;
  declare pageSize: number;
  /** Present: a chime; with a value: the address of a sound. */
  declare sound: string | null | undefined;
  declare language: string | undefined;
  declare noTabs: boolean;
  /** Texts that replace the shipped ones. */
  declare texts: Partial<BellTexts> | undefined;
  declare getToken: GetToken | undefined;
  /** A client that the page has already; the bell does not close it. */
  declare client: TidingsClient | undefined;
  declare open: boolean;

  #connected: { client: TidingsClient; stop: () => void } | null = null;
  #inbox: BellInbox | null = null;
  readonly #toasts = new Toasts(systemClock, () => this.requestUpdate(), 2_000);
  #count: InboxCount = { unread: 0, unseen: 0 };
  #said = "";
  #start = false;
  #stale = true;
  #cancelGather: (() => void) | null = null;
  #cancelTick = () => {};
  readonly #seen = new Set<string>();
  readonly #outside = (event: Event) => {
    if (!event.composedPath().includes(this)) this.open = false;
  };

  readonly #acts: BellActs = {
    markAll: () => this.#count.unread > 0 && this.#mark({ all: true }, "read"),
    mark: (event, item, state) => this.#act(event, item, state),
    follow: (event, item) => this.#follow(event, item),
    allow: () => void askPermission().then(() => this.requestUpdate()),
    close: () => this.#close(),
    key: (event) => this.#key(event),
    left: ({ relatedTarget: to }) => {
      if (to !== null && !this.renderRoot.contains(to as Node)) this.open = false;
    },
    dismiss: (key) => this.#toasts.dismiss(key),
  };

  constructor() {
    super();
    this.toastSeconds = 2;
    this.pageSize = 20;
    this.open = false;
    this.noTabs = false;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#disconnect();
    this.#listenOutside(false);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.requestUpdate("client");
  }

  protected override willUpdate(changed: PropertyValues): void {
    this.#toasts.stay = this.toastSeconds * 1000;
    const connection = ["url", "token", "tokenUrl", "getToken", "client", "topics", "user", "noTabs"];
    if (connection.some((name) => changed.has(name))) this.#connect();
    if (changed.has("open") && this.open) {
      // opened towards the side where there is room
      const { left, right } = this.getBoundingClientRect();
      const rtl = getComputedStyle(this).direction === "rtl";
      this.#start = rtl ? innerWidth - left < right : left < innerWidth - right;
    }
  }

  protected override updated(changed: PropertyValues): void {
    // what had the focus and is gone leaves it to the panel, where the keys are heard
    if (this.open && document.activeElement === document.body) focusPanel(this.renderRoot);
    if (!changed.has("open")) return;
    this.#listenOutside(this.open);
    if (this.open) {
      this.#seen.clear();
      if (this.#stale || this.#inbox?.loaded !== true) this.#refresh();
      else this.#look();
      focusPanel(this.renderRoot);
      this.#tick();
    } else {
      this.#cancelTick();
      const inside = this.renderRoot instanceof ShadowRoot && this.renderRoot.activeElement !== null;
      if (inside || changed.get("open") === true && document.activeElement === document.body) {
        focusBell(this.renderRoot);
      }
    }
  }

  protected override render(): TemplateResult {
    const texts = this.#texts();
    const { unread } = this.#count;
    const state = this.#state();
    return html`
      <button part="button" class="bell" aria-haspopup="dialog" aria-expanded=${this.open ? "true" : "false"}
        aria-label=${texts.button(unread)} title=${texts.title} @click=${() => this.open = !this.open}
        @animationend=${(event: Event) => (event.currentTarget as Element).classList.remove("ring")}>
        ${ICONS.bell}
        ${state === "live"
          ? nothing
          : html`<span part="state" class="dot ${state}" title=${texts[state]}></span>`}
      </button>
      ${unread > 0
        ? html`<span part="badge" class="badge" aria-hidden="true">${unread > 99 ? "99+" : unread}</span>`
        : nothing}
      ${this.open ? panelOf(this.#view(texts, state), this.#acts) : nothing}
      <div part="toasts" class="toasts" @pointerenter=${() => this.#toasts.hold(true)}
        @pointerleave=${() => this.#toasts.hold(false)} @focusin=${() => this.#toasts.hold(true)}
        @focusout=${() => this.#toasts.hold(false)}>
        ${this.toastSeconds > 0 && !this.open
          ? repeat(this.#toasts.list, ({ key }) => key, (toast) => toastOf(toast, texts, this.#acts))
          : nothing}
      </div>
      <div class="away" role="status" aria-live="polite">${this.#said}</div>
    `;
  }

  #view(texts: BellTexts, state: Shown): Parameters<typeof panelOf>[0] {
    return {
      texts,
      // times in the language of the texts: two at once read worse than English
      language: this.texts === undefined && shipped(this.#language()) === undefined ? "en" : this.#language(),
      state,
      start: this.#start,
      unread: this.#count.unread,
      inbox: this.#inbox,
      jobs: this.#toasts.jobs,
      now: systemClock.now(),
    };
  }

  #connect(): void {
    this.#disconnect();
    if (!this.isConnected) return;
    const mine = this.client === undefined;
    const client = this.client ?? connect(this.#options());
    const inbox = new BellInbox(client, () => this.#look(), this.pageSize);
    const stops = [
      client.on("item", (item) => this.#arrived(item)),
      client.on("inbox", ({ unread, unseen, changes }) => {
        this.#count = { unread, unseen };
        if (changes === undefined) this.#refresh();
        else inbox.apply(changes);
        this.requestUpdate();
      }),
      client.on("reset", () => this.#refresh()),
      client.on("state", ({ inbox }) => {
        if (inbox !== undefined) this.#count = inbox;
        this.requestUpdate();
      }),
    ];
    if (client.snapshot.inbox !== undefined) this.#count = client.snapshot.inbox;
    this.#inbox = inbox;
    this.#stale = true;
    this.#connected = {
      client,
      stop: () => {
        stops.forEach((stop) => stop());
        if (mine) client.close();
      },
    };
  }

  #disconnect(): void {
    this.#connected?.stop();
    this.#connected = null;
    this.#cancelGather?.();
    this.#cancelGather = null;
    this.#cancelTick();
    this.#toasts.clear();
  }

  #options(): Parameters<typeof connect>[0] {
    const { token, tokenUrl, user } = this;
    const getToken = this.getToken ??
      (tokenUrl ? () => fetchToken(new URL(tokenUrl, document.baseURI)) : undefined);
    return {
      url: this.url ? new URL(this.url, document.baseURI) : new URL("/", import.meta.url),
      topics: (this.topics ?? "").split(/[\s,]+/).filter((topic) => topic !== ""),
      tabs: !this.noTabs,
      ...(token ? { token } : {}),
      ...(getToken ? { getToken } : {}),
      ...(user ? { user } : {}),
    };
  }

  #arrived(item: Item & { readonly present?: boolean }): void {
    this.dispatchEvent(new CustomEvent("tidings-item", { detail: item, bubbles: true, composed: true }));
    if (item.transient !== true) this.#refresh();
    if (Math.abs(systemClock.now() - Date.parse(item.createdAt)) > FRESH) return;
    if (item.present !== true) return;
    this.#toasts.show(item);
    if (item.title === undefined && item.body === undefined) return;
    if (item.transient === true && item.collapseKey !== undefined) return;
    this.#said = [item.title, item.body].filter((text) => text !== undefined).join(". ");
    this.renderRoot.querySelector(".bell")?.classList.add("ring");
    if (this.sound !== null && this.sound !== undefined) void chime(this.sound);
    if (document.visibilityState === "hidden") void alertOf(item, () => this.#go(item));
    this.requestUpdate();
  }

  /** Loads the inbox anew, once for many reasons; not while nobody looks. */
  #refresh(): void {
    this.#stale = true;
    if (!this.open || this.#cancelGather !== null) return;
    const run = () => {
      this.#cancelGather = null;
      this.#stale = false;
      void this.#inbox?.refresh();
    };
    if (this.#inbox?.loaded !== true) run();
    else this.#cancelGather = systemClock.after(GATHER, run);
  }

  /** What is on an open panel has been seen. */
  #look(): void {
    this.requestUpdate();
    if (!this.open || document.visibilityState === "hidden") return;
    const ids = this.#inbox?.items.filter(({ id, state }) => state === "unseen" && !this.#seen.has(id)).map((
      { id },
    ) => id);
    if (ids === undefined || ids.length === 0) return;
    ids.forEach((id) => this.#seen.add(id));
    this.#mark(ids, "seen");
  }

  #mark(what: Parameters<BellInbox["mark"]>[0], state: Parameters<BellInbox["mark"]>[1]): void {
    this.#inbox?.mark(what, state).catch(() => {
      // the list was loaded again and shows what is true; that is the message
      this.requestUpdate();
    });
  }

  #act(event: Event, item: InboxItem, state: "read" | "unread" | "archived"): void {
    const hand = handOn(this.renderRoot, event.currentTarget as Element);
    this.#mark([item.id], state);
    void this.updateComplete.then(hand);
  }

  #follow(event: Event, item: Item): void {
    if (item.transient !== true) this.#mark([item.id], "read");
    if (!this.#tell(item)) event.preventDefault();
    else if (safeLink(item.link, document.baseURI) !== undefined) this.open = false;
  }

  #go(item: Item): void {
    const href = safeLink(item.link, document.baseURI);
    this.#mark([item.id], "read");
    if (this.#tell(item) && href !== undefined) location.assign(href);
  }

  /** False: the page takes care of it. */
  #tell(item: Item): boolean {
    const init = { detail: item, bubbles: true, composed: true, cancelable: true };
    return this.dispatchEvent(new CustomEvent("tidings-open", init));
  }

  #close(): void {
    this.open = false;
    focusBell(this.renderRoot);
  }

  #key(event: KeyboardEvent): void {
    if (event.key === "Escape") this.#close();
    else if (!moveFocus(this.renderRoot as ShadowRoot, event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  #listenOutside(listen: boolean): void {
    if (listen) document.addEventListener("pointerdown", this.#outside);
    else document.removeEventListener("pointerdown", this.#outside);
  }

  /** Keeps "3 minutes ago" true. */
  #tick(): void {
    this.#cancelTick();
    this.#cancelTick = systemClock.after(30_000, () => {
      this.requestUpdate();
      this.#tick();
    });
  }

  #state(): Shown {
    const state = this.#connected?.client.snapshot.state ?? "closed";
    if (state === "probing") return "live";
    return state === "idle" || state === "authorizing" ? "connecting" : state;
  }

  #language(): string {
    const near = this.language ?? this.closest<HTMLElement>("[lang]")?.lang;
    const tag = near || document.documentElement.lang || navigator.language;
    return Intl.DateTimeFormat.supportedLocalesOf(tag.replace("_", "-")).at(0) ?? "en";
  }

  #texts(): BellTexts {
    return textsFor(this.#language(), this.texts);
  }
}

if (customElements.get("tidings-bell") === undefined) customElements.define("tidings-bell", TidingsBell);
