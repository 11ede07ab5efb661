// Short messages at the edge of the page, and what a screen reader hears.
import { createStore } from "./store.js";

/** @typedef {{ id: number, text: string, kind: "info" | "error", action?: { label: string, run: () => void } }} Notice */

export const notices = createStore({ list: /** @type {Notice[]} */ ([]), spoken: /** @type {{ id: number, text: string }[]} */ ([]) });
const SHOWN_MS = 7000;
let last = 0;

/**
 * Show a message for a while; with an action it can be answered.
 * @param {string} text
 * @param {{ kind?: "info" | "error", action?: Notice["action"], ms?: number }} [options]
 * @returns {number} its id
 */
export function notify(text, { kind = "info", action, ms = SHOWN_MS } = {}) {
  const id = ++last;
  notices.set((value) => ({ ...value, list: [...value.list.slice(-3), { id, text, kind, action }] }));
  setTimeout(() => dismiss(id), ms);
  return id;
}

/** @param {number} id */
export function dismiss(id) {
  notices.set((value) => ({ ...value, list: value.list.filter((notice) => notice.id !== id) }));
}

/** @param {string} text said by screen readers, seen by nobody; the last few stay, or one would cut the other off */
export function announce(text) {
  const id = ++last;
  notices.set((value) => ({ ...value, spoken: [...value.spoken.slice(-3), { id, text }] }));
}
