/**
 * The small pieces of the bell's picture: icons, times, bars.
 * @module
 */
import { html, svg, type TemplateResult } from "lit";

const icon = (path: TemplateResult) =>
  html`
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round"
      stroke-linejoin="round" aria-hidden="true">${path}</svg>
  `;

/** The icons, drawn in the text's colour. */
export const ICONS = {
  bell: icon(svg`
    <path d="M6 9.5a6 6 0 0 1 12 0c0 5 2 6.5 2 6.5H4s2-1.5 2-6.5" />
    <path d="M10 19.5a2.2 2.2 0 0 0 4 0" />
  `),
  close: icon(svg`
    <path d="M6 6l12 12M18 6L6 18" />
  `),
  check: icon(svg`
    <path d="M5 12.5l4.5 4.5L19 7.5" />
  `),
  dot: icon(svg`
    <circle cx="12" cy="12" r="4" fill="currentColor" stroke="none" />
  `),
  archive: icon(svg`
    <path d="M4 5h16v4H4zM6 9v10h12V9M10 13h4" />
  `),
  back: icon(svg`
    <path d="M9 7L4 12l5 5M4 12h11a5 5 0 0 1 0 10" />
  `),
};

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

/** "3 minutes ago" in a language; an empty text for what is no time. */
export function ago(time: string, now: number, language: string): string {
  const seconds = Math.round((Date.parse(time) - now) / 1000);
  if (Number.isNaN(seconds)) return "";
  const [unit, size] = STEPS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  // a clock that is a little behind makes nothing come from the future
  return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(
    Math.min(0, Math.trunc(seconds / size)),
    unit,
  );
}

/** The time, as `<time>`. */
export function timeOf(time: string, now: number, language: string): TemplateResult {
  const full = Number.isNaN(Date.parse(time)) ? "" : new Date(time).toLocaleString(language);
  return html`<time part="time" datetime=${time} title=${full}><bdi>${ago(time, now, language)}</bdi></time>`;
}

/** A text that somebody wrote, in whatever language; Korean is broken between its words, as Koreans do. */
export function written(text: string): TemplateResult {
  return html`<bdi class=${/\p{Script=Hangul}/u.test(text) ? "words" : ""}>${text}</bdi>`;
}

/** A bar for a job. */
export function bar(progress: number, label: string, text: string): TemplateResult {
  return html`
    <progress part="progress" max="1" .value=${progress} aria-label=${label}
      aria-valuetext=${text}></progress>
  `;
}
