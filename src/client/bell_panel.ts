/**
 * What the bell shows of notifications: the panel, its rows, toasts. Templates only: what a click does is told by the acts.
 *
 * Holds: what comes from a notification is text, never markup, and its link is followed only when it is safe.
 * @module
 */
import { html, nothing, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import type { Item } from "../notification.ts";
import { permission } from "./bell_alert.ts";
import type { BellInbox, Filter } from "./bell_inbox.ts";
import { safeLink } from "./bell_link.ts";
import type { BellTexts } from "./bell_texts.ts";
import type { Toast } from "./bell_toasts.ts";
import { bar, ICONS, timeOf, written } from "./bell_view.ts";
import type { InboxItem } from "./inbox.ts";

/** The states that are told apart on the screen. */
export type Shown = "live" | "connecting" | "waiting" | "offline" | "closed";

/** What there is to show. */
export interface BellView {
  texts: BellTexts;
  language: string;
  state: Shown;
  /** Whether the panel opens towards the end of the line, where the room is. */
  start: boolean;
  unread: number;
  inbox: BellInbox | null;
  /** Jobs that go on. */
  jobs: readonly Toast[];
  /** Milliseconds since the epoch. */
  now: number;
}

/** What can be done about it. */
export interface BellActs {
  markAll(): unknown;
  /** Marks one; its row is where the event happened. */
  mark(event: Event, item: InboxItem, state: "read" | "unread" | "archived"): void;
  /** Opens one. */
  follow(event: Event, item: Item): void;
  /** Asks for permission. */
  allow(): void;
  close(): void;
  key(event: KeyboardEvent): void;
  /** The focus left for somewhere. */
  left(event: FocusEvent): void;
  dismiss(key: string): void;
}

const FILTERS: readonly Filter[] = ["all", "unread", "archived"];

/** The panel. */
export function panelOf(view: BellView, acts: BellActs): TemplateResult {
  const { texts, state, unread, inbox, jobs } = view;
  const filter = inbox?.filter ?? "all";
  const items = inbox?.items ?? [];
  const empty = { all: texts.empty, unread: texts.emptyUnread, archived: texts.emptyArchived }[filter];
  return html`
    <div part="panel" class="panel ${view.start ? "start" : ""}" role="dialog" aria-label=${texts
      .title} tabindex="-1"
      @keydown=${acts.key} @focusout=${acts.left}>
      <div class="header" part="header">
        <div class="row">
          <h2>${texts.title}</h2>
          <button class="link" part="mark-all" aria-disabled=${unread === 0 ? "true" : "false"}
            @click=${acts.markAll}>${texts.markAll}</button>
          <button class="icon" aria-label=${texts.close} title=${texts.close} @click=${acts.close}>${ICONS
            .close}</button>
        </div>
        <div class="filters" part="filters">
          ${FILTERS.map((each) =>
            html`<button aria-pressed=${each === filter ? "true" : "false"} @click=${() => inbox?.show(each)}>
              ${texts[each]}</button>`
          )}
        </div>
      </div>
      <div class="scroll" tabindex="0" role="group" aria-label=${texts[filter]} aria-busy=${inbox?.busy
        ? "true"
        : "false"}>
        ${jobs.length === 0
          ? nothing
          : html`<ul part="jobs">${repeat(jobs, ({ key }) => key, (job) => jobOf(job, texts, acts))}</ul>`}
        ${items.length === 0
          ? nothing
          : html`<ul part="list">${repeat(items, ({ id }) => id, (item) => rowOf(item, view, acts))}</ul>`}
        ${inbox?.failed
          ? html`<p class="note" role="alert">${texts.failed}<br>
            <button class="link" @click=${() => inbox.refresh()}>${texts.retry}</button></p>`
          : items.length > 0 || jobs.length > 0
          ? nothing
          : html`<div class="note">${inbox?.loaded ? [ICONS.bell, empty] : texts.loading}</div>`}
        ${inbox?.more
          ? html`<button class="link older" @click=${() => inbox.older()}>${texts.older}</button>`
          : nothing}
      </div>
      <div class="footer" part="footer">
        <span class="dot ${state}"></span><span>${texts[state]}</span>
        ${permission() === "default"
          ? html`<button class="link" part="allow" @click=${acts.allow}>${texts.allow}</button>`
          : nothing}
      </div>
    </div>
  `;
}

function rowOf(item: InboxItem, view: BellView, acts: BellActs): TemplateResult {
  const { texts } = view;
  const unread = item.state === "unseen" || item.state === "seen";
  const archived = item.state === "archived";
  const act = (name: string, icon: TemplateResult, state: "read" | "unread" | "archived") =>
    html`
      <button class="icon" aria-label="${name}: ${item.title ?? item.body ?? item.type}" title=${name}
        @click=${(event: Event) => acts.mark(event, item, state)}>${icon}</button>
    `;
  return html`
    <li part="item" class="item ${unread ? "unread" : ""}" data-id=${item.id}>
      <span class="mark" part="mark"></span>
      <div class="main">${contentOf(item, acts, unread ? texts.isUnread : "")}
        ${timeOf(item.createdAt, view.now, view.language)}</div>
      <div class="actions" part="actions">
        ${archived ? act(texts.unarchive, ICONS.back, "unread") : [
          unread ? act(texts.markRead, ICONS.check, "read") : act(texts.markUnread, ICONS.dot, "unread"),
          act(texts.archive, ICONS.archive, "archived"),
        ]}
      </div>
    </li>
  `;
}

function contentOf(item: Item, acts: BellActs, before = ""): TemplateResult {
  const href = safeLink(item.link, document.baseURI);
  const title = html`
    ${before === "" ? nothing : html`<span class="away">${before}: </span>`}<span
      class="title" part="title">${written(item.title ?? item.body ?? item.type)}</span>
  `;
  const open = (event: Event) => acts.follow(event, item);
  return html`
    ${href === undefined
      ? html`<button class="open" @click=${open}>${title}</button>`
      : html`<a class="open" href=${href} rel="noopener" @click=${open}>${title}</a>`}
    ${item.title !== undefined && item.body
      ? html`<p class="body" part="body">${written(item.body)}</p>`
      : nothing}
  `;
}

function jobOf({ item, progress = 0 }: Toast, texts: BellTexts, acts: BellActs): TemplateResult {
  return html`<li part="item job" class="item"><span class="mark"></span><div class="main">
    ${contentOf(item, acts)}${barOf(item, progress, texts)}</div></li>`;
}

/** A toast. */
export function toastOf({ key, item, progress }: Toast, texts: BellTexts, acts: BellActs): TemplateResult {
  return html`
    <div part="toast" class="toast" data-id=${item.id}>
      <div class="main">${contentOf(item, acts)}${progress === undefined
        ? nothing
        : barOf(item, progress, texts)}</div>
      <button class="icon" aria-label="${texts.dismiss}: ${item.title ?? item.type}" @click=${() =>
        acts.dismiss(key)}>${ICONS.close}</button>
    </div>
  `;
}

function barOf(item: Item, progress: number, texts: BellTexts): TemplateResult {
  return bar(progress, item.title ?? item.type, texts.progress(Math.round(progress * 100)));
}
