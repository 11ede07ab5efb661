// Texts by name in the chosen language, and numbers as that language writes them.
import { prefs } from "../state/prefs.js";
import { TEXTS } from "./texts.js";

/** @type {Record<string, { name: string, dir: "ltr" | "rtl" }>} */
export const LANGUAGES = {
  en: { name: "English", dir: "ltr" },
  de: { name: "Deutsch", dir: "ltr" },
  zh: { name: "中文", dir: "ltr" },
};

/** @returns {string} the code of the language in use */
export function language() {
  const chosen = prefs.get().language;
  if (chosen && chosen in LANGUAGES) return chosen;
  for (const wanted of navigator.languages ?? []) {
    const code = wanted.toLowerCase().split("-")[0];
    if (code in LANGUAGES) return code;
  }
  return "en";
}

/**
 * A text; ``{name}`` in it stands for a value, which stays text whatever it holds.
 * @param {string} name @param {Record<string, string | number>} [values]
 */
export function say(name, values = {}) {
  const row = TEXTS[name];
  if (!row) throw new Error(`no text is named ${name}`);
  const text = row[Object.keys(LANGUAGES).indexOf(language())];
  return text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
}

/** @param {string} name @returns {string | null} a text that there may be */
export const sayIf = (name) => (name in TEXTS ? say(name) : null);

/** @param {number} value @param {Intl.NumberFormatOptions} [options] */
export const number = (value, options) => new Intl.NumberFormat(language(), options).format(value);

/** @param {number} value a duration: 8 s, 2 min, 1 h 5 min */
export function seconds(value) {
  const unit = (/** @type {number} */ amount, /** @type {string} */ name) =>
    number(amount, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: amount < 10 ? 1 : 0 });
  if (value < 60) return unit(value < 10 ? Math.round(value * 10) / 10 : Math.round(value), "second");
  const minutes = Math.round(value / 60);
  if (minutes < 60) return unit(minutes, "minute");
  return `${unit(Math.floor(minutes / 60), "hour")} ${minutes % 60 ? unit(minutes % 60, "minute") : ""}`.trim();
}

/** @param {number} unix */
export const day = (unix) =>
  new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(unix * 1000));

/** The document's language and direction. */
export function applyLanguage() {
  document.documentElement.lang = language();
  document.documentElement.dir = LANGUAGES[language()].dir;
}
