// The prompt, with the characters that an @ offers.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { cast, loadCast } from "../state/cast.js";
import { draft } from "../state/draft.js";
import { useStore } from "../state/store.js";
import { say } from "../text/i18n.js";

/** @param {string} text @param {number} caret @returns {{ start: number, word: string } | null} the @word before the caret */
export function mention(text, caret) {
  const before = text.slice(0, caret).match(/@([^\s@]*)$/);
  return before ? { start: caret - before[0].length, word: before[1].toLocaleLowerCase() } : null;
}

export function Prompt({ value, card, error }) {
  const area = useRef(null);
  const list = useStore(cast, (state) => state.list);
  const [asked, setAsked] = useState(/** @type {{ start: number, word: string } | null} */ (null));
  const [active, setActive] = useState(0);
  useEffect(() => {
    if (card.characters) loadCast();
  }, [card.id]);
  useEffect(() => {
    const box = /** @type {any} */ (area.current);
    box.style.blockSize = "auto";
    box.style.blockSize = `${Math.min(box.scrollHeight, 320)}px`;
  }, [value.prompt]);
  const found = asked && card.characters ? list.filter(({ name }) => name.toLocaleLowerCase().startsWith(asked.word)).slice(0, 6) : [];
  const look = () => {
    const box = /** @type {any} */ (area.current);
    setAsked(mention(box.value, box.selectionStart));
    setActive(0);
  };
  const choose = (/** @type {{ id: string, name: string }} */ one) => {
    const box = /** @type {any} */ (area.current);
    const start = asked?.start ?? 0;
    const prompt = `${value.prompt.slice(0, start)}${one.name} ${value.prompt.slice(box.selectionStart)}`;
    draft.set({ prompt, characters: [one.id] }); // a video shows one
    setAsked(null);
    box.focus();
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (!found.length || event.isComposing) return;
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) setActive((active + move + found.length) % found.length);
    else if (["Enter", "Tab"].includes(event.key) && !event.ctrlKey && !event.metaKey) choose(found[active]);
    else if (event.key === "Escape") setAsked(null);
    else return;
    event.preventDefault();
  };
  const seen = list.filter(({ id }) => value.characters.includes(id));
  return html`<div class=${`prompt-box${error ? " wrong" : ""}`}>
    <label class="heard" for="prompt">${say("make.prompt")}</label>
    <textarea id="prompt" ref=${area} rows="3" dir="auto" placeholder=${say("make.placeholder")} value=${value.prompt}
      aria-invalid=${error ? "true" : undefined} aria-describedby=${error ? "prompt-error" : undefined}
      aria-autocomplete=${card.characters ? "list" : undefined} aria-controls=${found.length ? "mentions" : undefined}
      aria-activedescendant=${found.length ? `mention-${active}` : undefined}
      onInput=${(event) => { draft.set({ prompt: event.currentTarget.value }); look(); }} onKeyDown=${onKey} onClick=${look}></textarea>
    ${found.length > 0 && html`<ul class="mentions" id="mentions" role="listbox" aria-label=${say("nav.characters")}>
      ${found.map((one, index) => html`<li key=${one.id} id=${`mention-${index}`} role="option" aria-selected=${index === active}
        onMouseDown=${(event) => { event.preventDefault(); choose(one); }}>@${one.name}</li>`)}
    </ul>`}
    ${seen.length > 0 && html`<p class="chips">${seen.map(
      (one) => html`<button key=${one.id} type="button" class="chip" aria-label=${say("cast.leave_out", { name: one.name })}
        onClick=${() => draft.set({ characters: [] })}>@${one.name} ×</button>`,
    )}</p>`}
    ${error && html`<p class="error" id="prompt-error" role="alert">${error}</p>`}
  </div>`;
}
