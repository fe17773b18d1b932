/**
 * Where the keyboard's focus is inside a bell, and where it goes. A root is that of the element's shadow.
 * @module
 */

/** To the bell itself. */
export function focusBell(root: ParentNode): void {
  root.querySelector<HTMLElement>(".bell")?.focus();
}

/** To the panel, where the keys are heard. */
export function focusPanel(root: ParentNode): void {
  root.querySelector<HTMLElement>(".panel")?.focus();
}

/** Moves from row to row, as this key does; false when it does nothing of that. */
export function moveFocus(root: ShadowRoot, key: string): boolean {
  const rows = rowsOf(root);
  const focused = root.activeElement;
  const place = rows.findIndex((row) => row === focused || row.closest(".item")?.contains(focused));
  const target = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: rows.length - 1 }[key];
  if (target === undefined || rows.length === 0) return false;
  focusRow(root, Math.max(0, target));
  return true;
}

/** The returned function hands the focus to the neighbour of the row that this element is in, if that row is gone by then. */
export function handOn(root: ParentNode, element: Element): () => void {
  const row = element.closest(".item")?.querySelector<HTMLElement>(".open") ?? null;
  const place = row === null ? 0 : rowsOf(root).indexOf(row);
  return () => {
    if (row?.isConnected === false) focusRow(root, place);
  };
}

function focusRow(root: ParentNode, place: number): void {
  const rows = rowsOf(root);
  const row = rows[Math.min(place, rows.length - 1)];
  if (row === undefined) focusPanel(root);
  else row.focus();
}

/** What opens each notification of the panel. */
function rowsOf(root: ParentNode): HTMLElement[] {
  return [...root.querySelectorAll<HTMLElement>(".panel .open")];
}
