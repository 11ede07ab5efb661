// Pictures at places of the film: its first frame, its last, or any.
import { html, useState } from "../vendor/preact-htm.js";
import { Icon } from "../parts/icons.js";
import { IconButton, NumberInput } from "../parts/ui.js";
import { cardOf, draft, lengthOf } from "../state/draft.js";
import { pictureOf } from "../state/files.js";
import { notify } from "../state/notices.js";
import { session } from "../state/session.js";
import { useStore } from "../state/store.js";
import { number, say } from "../text/i18n.js";

/** @typedef {import("../state/draft.js").Still} Still */
/** @typedef {import("../api/types.js").ModelCard} ModelCard */

/** @param {ModelCard} card @param {boolean} extended @returns {Still["place"][]} where this model takes pictures */
function placesOf(card, extended) {
  if (!extended) return ["first"];
  const can = (/** @type {string} */ name) => card.edits.includes(name);
  /** @type {Still["place"][]} */
  const places = [];
  if (can("first_frame") || card.inputs.includes("image")) places.push("first");
  if (can("last_frame") || can("both_ends")) places.push("last");
  return places;
}

/** @param {string} url @param {string} name into the first place that is free */
export function addStill(url, name) {
  const { cards, extended } = session.get();
  const card = cardOf(draft.get(), cards);
  const places = card ? placesOf(card, extended) : [];
  const taken = new Set(draft.get().stills.map((still) => still.place));
  const free = places.find((place) => !taken.has(place)) ?? (card?.edits.includes("keyframes") ? middle(taken, card) : places[0]);
  if (free === undefined) return notify(say("stills.none"), { kind: "error" });
  put({ place: free, url, name });
}

/** @param {Set<Still["place"]>} taken @param {ModelCard} card a frame that has no picture yet */
function middle(taken, card) {
  const frames = lengthOf(draft.get(), card);
  let index = Math.floor(frames / 2);
  while (taken.has(index) && index < frames - 1) index++;
  return index;
}

/** @param {Still} still */
function put(still) {
  const others = draft.get().stills.filter((other) => other.place !== still.place);
  const order = (/** @type {Still} */ one) => (one.place === "first" ? -1 : one.place === "last" ? Infinity : one.place);
  draft.set({ stills: [...others, still].sort((a, b) => order(a) - order(b)) });
}

/** @param {Still["place"]} place */
const drop = (place) => draft.set({ stills: draft.get().stills.filter((still) => still.place !== place) });

export function Stills({ card, extended, error }) {
  const stills = useStore(draft, (value) => value.stills);
  const places = placesOf(card, extended);
  const keyframes = extended && card.edits.includes("keyframes");
  if (!places.length && !keyframes) return null;
  const inner = stills.filter((still) => typeof still.place === "number");
  return html`<div class="stills" role="group" aria-label=${say("stills.label")}>
    ${places.map((place) => html`<${Slot} key=${place} place=${place} still=${stills.find((still) => still.place === place)} />`)}
    ${inner.map((still) => html`<${Slot} key=${still.place} place=${still.place} still=${still} card=${card} />`)}
    ${keyframes && html`<${Slot} key=${`new-${inner.length}`} place="any" />`}
    ${error && html`<p class="error" role="alert">${error}</p>`}
  </div>`;
}

/** A place for a picture: by click, by drop, or by keyboard. */
function Slot({ place, still, card }) {
  const [over, setOver] = useState(false);
  const label = typeof place === "number" ? say("stills.at", { frame: number(place + 1) }) : say(`stills.${place}`);
  const take = async (/** @type {FileList | null | undefined} */ files) => {
    setOver(false);
    if (!files?.[0]) return;
    try {
      const url = await pictureOf(files[0]);
      if (place === "any") addStill(url, files[0].name);
      else put({ place, url, name: files[0].name });
    } catch (error) {
      notify(/** @type {Error} */ (error).message, { kind: "error" });
    }
  };
  const onDrop = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    event.stopPropagation();
    take(event.dataTransfer?.files);
  };
  const move = (/** @type {number} */ index) => {
    drop(place);
    put({ ...still, place: index });
  };
  return html`<div class=${`slot${over ? " over" : ""}${still ? " full" : ""}`} onDrop=${onDrop}
    onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)}>
    <label class="slot-target">
      ${still ? html`<img src=${still.url} alt=${still.name} />` : html`<${Icon} name=${place === "any" ? "plus" : "image"} />`}
      <span>${label}</span>
      <input class="heard" type="file" accept="image/png,image/jpeg,image/webp" onChange=${(event) => { take(event.currentTarget.files); event.currentTarget.value = ""; }} />
    </label>
    ${still && html`<${IconButton} icon="close" kind="small" label=${say("stills.remove", { place: label })} onClick=${() => drop(place)} />`}
    ${typeof place === "number" && html`<${NumberInput} class="slot-place" aria-label=${say("stills.frame")} min="1" max=${lengthOf(draft.get(), card)} value=${place + 1}
      onCommit=${(/** @type {number} */ frame) => move(Math.max(0, Math.min(lengthOf(draft.get(), card), frame) - 1))} />`}
  </div>`;
}
