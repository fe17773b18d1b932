/**
 * How the bell looks. Everything that a page may want to change is a custom property or a part.
 * @module
 */
import { css, type CSSResult } from "lit";
import { panelStyle } from "./bell_style_panel.ts";

const bell = css`
  :host {
    color-scheme: light dark;
    --_accent: var(--tidings-accent, light-dark(#4f46e5, #a5b4fc));
    --_on-accent: var(--tidings-on-accent, light-dark(#ffffff, #1e1b4b));
    --_surface: var(--tidings-surface, light-dark(#ffffff, #1c1d22));
    --_raised: var(--tidings-raised, light-dark(#f4f5f8, #27282f));
    --_text: var(--tidings-text, light-dark(#17181c, #f2f3f5));
    --_muted: var(--tidings-muted, light-dark(#5b6070, #a9afbd));
    --_border: var(--tidings-border, light-dark(#e3e5ea, #3a3c45));
    --_badge: var(--tidings-badge, light-dark(#d11a3f, #ff7a93));
    --_on-badge: var(--tidings-on-badge, light-dark(#ffffff, #3b0310));
    --_radius: var(--tidings-radius, 14px);
    --_width: var(--tidings-width, 24rem);
    --_font: var(--tidings-font, inherit);
    --_shadow: var(
      --tidings-shadow,
      0 1px 2px light-dark(#0f172a14, #00000066),
      0 12px 40px light-dark(#0f172a2e, #000000a6)
    );
    position: relative;
    display: inline-block;
    font-family: var(--_font);
    line-height: 1.4;
    color: var(--_text);
  }
  :host([theme="light"]) {
    color-scheme: light;
  }
  :host([theme="dark"]) {
    color-scheme: dark;
  }
  :host([hidden]) {
    display: none;
  }
  :host(:lang(ko)),
  .words {
    word-break: keep-all;
  }
  * {
    box-sizing: border-box;
  }
  button {
    font: inherit;
    color: inherit;
    background: none;
    border: 0;
    padding: 0;
    cursor: pointer;
  }
  :focus-visible {
    outline: 2px solid var(--_accent);
    outline-offset: 2px;
  }
  .away {
    position: absolute;
    inline-size: 1px;
    block-size: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }

  .bell {
    position: relative;
    display: inline-grid;
    place-items: center;
    inline-size: 2.75rem;
    block-size: 2.75rem;
    border-radius: 50%;
    color: var(--tidings-icon, inherit);
    transition: background 0.15s;
  }
  .bell:hover,
  .bell[aria-expanded="true"] {
    background: color-mix(in srgb, currentColor 10%, transparent);
  }
  .bell svg {
    inline-size: 1.5rem;
    block-size: 1.5rem;
  }
  .bell.ring svg {
    animation: ring 0.7s ease;
    transform-origin: 50% 10%;
  }
  .badge {
    position: absolute;
    pointer-events: none;
    inset-block-start: -0.1rem;
    inset-inline-start: 1.45rem;
    min-inline-size: 1.2rem;
    block-size: 1.2rem;
    padding-inline: 0.3rem;
    border-radius: 1rem;
    background: var(--_badge);
    color: var(--_on-badge);
    font-size: 0.72rem;
    font-weight: 700;
    line-height: 1.2rem;
    text-align: center;
    font-variant-numeric: tabular-nums;
    box-shadow: 0 0 0 2px var(--_surface);
  }
  .dot {
    inline-size: 0.55rem;
    block-size: 0.55rem;
    border-radius: 50%;
    background: light-dark(#b45309, #fbbf24);
    flex: none;
  }
  .dot.live {
    background: light-dark(#15803d, #4ade80);
  }
  .dot.offline,
  .dot.closed {
    background: var(--_muted);
  }
  .bell .dot {
    position: absolute;
    inset-block-end: 0.4rem;
    inset-inline-end: 0.4rem;
    box-shadow: 0 0 0 2px var(--_surface);
  }
`;

const toasts = css`
  progress {
    display: block;
    inline-size: 100%;
    block-size: 0.4rem;
    margin-block-start: 0.45rem;
    appearance: none;
    border: 0;
    border-radius: 1rem;
    overflow: hidden;
    background: var(--_border);
    accent-color: var(--_accent);
  }
  progress::-webkit-progress-bar {
    background: var(--_border);
  }
  progress::-webkit-progress-value {
    background: var(--_accent);
    border-radius: 1rem;
    transition: inline-size 0.3s;
  }
  progress::-moz-progress-bar {
    background: var(--_accent);
  }

  .toasts {
    position: var(--tidings-toasts-position, fixed);
    z-index: calc(var(--tidings-layer, 1000) + 1);
    inset-block: var(--tidings-toasts-top, auto) var(--tidings-toasts-bottom, 1rem);
    inset-inline: var(--tidings-toasts-start, auto) var(--tidings-toasts-end, 1rem);
    inline-size: var(--tidings-toasts-width, min(22rem, calc(100vw - 2rem)));
    display: flex;
    flex-direction: column;
    gap: 0.5rem;
    pointer-events: none;
  }
  .toast {
    pointer-events: auto;
    position: relative;
    display: flex;
    align-items: center;
    gap: 0.6rem;
    padding-block: 0.75rem;
    padding-inline: 0.9rem 0.5rem;
    background: var(--_surface);
    border: 1px solid var(--_border);
    border-radius: calc(var(--_radius) - 2px);
    box-shadow: var(--_shadow);
    text-align: start;
    overflow: hidden;
    animation: slide 0.22s ease-out;
  }
  .toast::before {
    content: "";
    position: absolute;
    inset: 0 auto 0 0;
    inset-inline: 0 auto;
    inline-size: 4px;
    background: var(--_accent);
  }
  .toast .icon {
    position: relative;
    z-index: 1;
    align-self: start;
  }
  .toast .title {
    font-weight: 650;
  }
`;

const media = css`
  @keyframes rise {
    from {
      opacity: 0;
      transform: translateY(-6px);
    }
  }
  @keyframes slide {
    from {
      opacity: 0;
      transform: translateY(12px);
    }
  }
  @keyframes ring {
    20% {
      transform: rotate(16deg);
    }
    40% {
      transform: rotate(-13deg);
    }
    60% {
      transform: rotate(8deg);
    }
    80% {
      transform: rotate(-5deg);
    }
  }
  @media (max-width: 30rem) {
    .panel,
    .panel.start {
      position: fixed;
      inset: auto 0.5rem 0.5rem;
      inline-size: auto;
      max-block-size: 80dvh;
    }
  }
  @media (prefers-reduced-motion: reduce) {
    * {
      animation: none !important;
      transition: none !important;
    }
  }
  @media (forced-colors: active) {
    .mark,
    .badge {
      forced-color-adjust: none;
    }
  }
`;

/** The bell's style sheets, in the order in which they count. */
export const style: CSSResult[] = [bell, panelStyle, toasts, media];
