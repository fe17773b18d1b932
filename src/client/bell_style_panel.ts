/**
 * How the bell's panel looks.
 * @module
 */
import { css, type CSSResult } from "lit";

/** The panel, its rows and filters. */
export const panelStyle: CSSResult = css`
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
  .link:hover:not([aria-disabled="true"]) {
    text-decoration: underline;
  }
  .link[aria-disabled="true"] {
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
    display: -webkit-box;
    -webkit-line-clamp: 3;
    -webkit-box-orient: vertical;
    overflow: hidden;
    font-size: 0.95rem;
    overflow-wrap: anywhere;
  }
  bdi:not(.words) {
    word-break: normal;
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
`;
