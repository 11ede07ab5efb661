// What this browser remembers: favourites, theme, language. Nothing secret, and nothing that the server needs.
import { createStore } from "./store.js";

const PLACE = "sora-studio";

/** @typedef {{ favourites: string[], theme: "system" | "light" | "dark", language: string | null, count: number }} Prefs */

/** @returns {Prefs} */
function remembered() {
  const initial = { favourites: [], theme: /** @type {const} */ ("system"), language: null, count: 1 };
  try {
    return { ...initial, ...JSON.parse(localStorage.getItem(PLACE) ?? "{}") };
  } catch {
    return initial; // storage that is switched off, or that something else wrote into
  }
}

export const prefs = createStore(remembered());

prefs.watch(() => {
  try {
    localStorage.setItem(PLACE, JSON.stringify(prefs.get()));
  } catch {
    // a browser without storage forgets, and works
  }
});

/** @param {string} id */
export function toggleFavourite(id) {
  prefs.set((value) => ({
    ...value,
    favourites: value.favourites.includes(id)
      ? value.favourites.filter((other) => other !== id)
      : [...value.favourites, id],
  }));
}

/** The theme as an attribute of the document; styles do the rest. */
export function applyTheme() {
  const { theme } = prefs.get();
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
