/**
 * How the bell looks. Everything that a page may want to change is a custom property or a part.
 * @module
 */
import { css, type CSSResult } from "lit";

/** The bell's style sheet. */
export const style: CSSResult = css`
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

  .panel {
    position: absolute;
    z-index: var(--tidings-layer, 1000);
    inset-block-start: calc(100% + 0.5rem);
    inset-inline-end: 0;
    inline-size: min(var(--_width), calc(100vw - 1rem));
    max-block-size: min(36rem, calc(100dvh - 6rem));
    display: flex;
    flex-direction: column;
    overflow: hidden;
    background: var(--_surface);
    color: var(--_text);
    border: 1px solid var(--_border);
    border-radius: var(--_radius);
    box-shadow: var(--_shadow);
    text-align: start;
    animation: rise 0.16s ease-out;
  }
  .panel.start {
    inset-inline: 0 auto;
  }
  .header {
    padding: 0.9rem 1rem 0.6rem;
    border-block-end: 1px solid var(--_border);
  }
  .row {
    display: flex;
    align-items: center;
    gap: 0.5rem;
  }
  h2 {
    flex: 1;
    margin: 0;
    font-size: 1.1rem;
    font-weight: 700;
  }
  .link {
    color: var(--_accent);
    font-size: 0.85rem;
    font-weight: 600;
    padding: 0.25rem 0.4rem;
    border-radius: 6px;
  }
  .link:hover:not(:disabled) {
    text-decoration: underline;
  }
  .link:disabled {
    color: var(--_muted);
    cursor: default;
  }
  .icon {
    display: inline-grid;
    place-items: center;
    inline-size: 2rem;
    block-size: 2rem;
    border-radius: 50%;
    color: var(--_muted);
  }
  .icon:hover {
    background: color-mix(in srgb, currentColor 12%, transparent);
    color: var(--_text);
  }
  .icon svg {
    inline-size: 1.1rem;
    block-size: 1.1rem;
  }
  .filters {
    display: flex;
    gap: 0.35rem;
    margin-block-start: 0.55rem;
  }
  .filters button {
    padding: 0.25rem 0.75rem;
    border-radius: 1rem;
    font-size: 0.85rem;
    font-weight: 600;
    color: var(--_muted);
  }
  .filters button:hover {
    background: var(--_raised);
  }
  .filters button[aria-pressed="true"] {
    background: var(--_accent);
    color: var(--_on-accent);
  }

  .scroll {
    flex: 1;
    overflow-y: auto;
    overscroll-behavior: contain;
    min-block-size: 8rem;
  }
  ul {
    list-style: none;
    margin: 0;
    padding: 0.35rem;
  }
  .item {
    position: relative;
    display: flex;
    gap: 0.6rem;
    padding: 0.65rem 0.6rem;
    border-radius: calc(var(--_radius) - 6px);
  }
  .item:hover,
  .item:focus-within {
    background: var(--_raised);
  }
  .mark {
    inline-size: 0.5rem;
    block-size: 0.5rem;
    margin-block-start: 0.45rem;
    border-radius: 50%;
    flex: none;
  }
  .item.unread .mark {
    background: var(--_accent);
  }
  .item.unread .title {
    font-weight: 650;
  }
  .main {
    flex: 1;
    min-inline-size: 0;
  }
  .open {
    color: inherit;
    text-decoration: none;
    text-align: start;
    display: block;
    inline-size: 100%;
    border-radius: 4px;
  }
  .open::after {
    content: "";
    position: absolute;
    inset: 0;
  }
  .title {
    display: block;
    font-size: 0.95rem;
    overflow-wrap: anywhere;
  }
  .body {
    margin: 0.1rem 0 0;
    font-size: 0.86rem;
    color: var(--_muted);
    overflow: hidden;
    display: -webkit-box;
    -webkit-line-clamp: 3;
    -webkit-box-orient: vertical;
    overflow-wrap: anywhere;
    white-space: pre-line;
  }
  time {
    display: block;
    margin-block-start: 0.15rem;
    font-size: 0.78rem;
    color: var(--_muted);
  }
  .actions {
    position: relative;
    z-index: 1;
    display: flex;
    align-self: start;
    opacity: 0;
    transition: opacity 0.1s;
  }
  .item:hover .actions,
  .item:focus-within .actions {
    opacity: 1;
  }
  @media (hover: none) {
    .actions {
      opacity: 1;
    }
  }
  .note {
    padding: 2.5rem 1.5rem;
    text-align: center;
    color: var(--_muted);
    font-size: 0.92rem;
  }
  .note svg {
    display: block;
    inline-size: 2.5rem;
    block-size: 2.5rem;
    margin: 0 auto 0.6rem;
    opacity: 0.55;
  }
  .older {
    display: block;
    margin: 0 auto 0.6rem;
  }
  .footer {
    display: flex;
    align-items: center;
    gap: 0.5rem;
    padding: 0.55rem 1rem;
    border-block-start: 1px solid var(--_border);
    font-size: 0.8rem;
    color: var(--_muted);
  }
  .footer .link {
    margin-inline-start: auto;
  }
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
    gap: 0.6rem;
    padding: 0.75rem 0.5rem 0.75rem 0.9rem;
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
