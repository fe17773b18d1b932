/**
 * What reaches somebody who does not look at the page: the browser's own notifications, and a sound.
 * @module
 */
import type { Item } from "../notification.ts";

/** Whether notifications can be asked for, are allowed, or neither. */
export function permission(): NotificationPermission | "unsupported" {
  return typeof Notification === "undefined" || !globalThis.isSecureContext
    ? "unsupported"
    : Notification.permission;
}

/** Asks; only from a click, for browsers punish everything else. */
export async function askPermission(): Promise<boolean> {
  return await Notification.requestPermission() === "granted";
}

/** Shows the browser's notification; `open` is called when it is clicked. */
export async function alertOf(item: Item, open: () => void): Promise<void> {
  if (permission() !== "granted") return;
  const { title, body, collapseKey, id } = item;
  // the tag makes the browser replace instead of repeat, whoever shows it
  const options: NotificationOptions = {
    tag: `tidings:${collapseKey ?? id}`,
    ...(body === undefined ? {} : { body }),
  };
  try {
    const notification = new Notification(title ?? body ?? "", options);
    notification.onclick = () => {
      globalThis.focus?.();
      notification.close();
      open();
    };
  } catch {
    // Chromium on Android shows them from a service worker only
    const worker = await navigator.serviceWorker?.getRegistration();
    await worker?.showNotification(title ?? body ?? "", options);
  }
}

/** Two soft tones, or the sound of an address. What the browser forbids before the first click stays silent. */
export async function chime(address: string): Promise<void> {
  if (address !== "") return await new Audio(address).play().catch(quiet);
  if (typeof AudioContext === "undefined" || navigator.userActivation?.hasBeenActive === false) return;
  const context = new AudioContext();
  const end = context.currentTime + 0.45;
  for (const [frequency, at] of [[784, 0], [1175, 0.12]] as const) {
    const tone = context.createOscillator();
    const volume = context.createGain();
    tone.frequency.value = frequency;
    volume.gain.setValueAtTime(0.0001, context.currentTime + at);
    volume.gain.exponentialRampToValueAtTime(0.12, context.currentTime + at + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, end);
    tone.connect(volume).connect(context.destination);
    tone.start(context.currentTime + at);
    tone.stop(end);
    tone.onended = () => void context.close().catch(quiet);
  }
}

/** A sound that cannot be played is no reason to disturb anybody. */
function quiet(): void {}
