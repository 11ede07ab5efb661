// The storyboard: stills, clips and words at places in time, one film.
import { html, useRef, useState } from "../vendor/preact-htm.js";
import { ApiError } from "../api/client.js";
import { Icon } from "../parts/icons.js";
import { Thumb } from "../parts/thumb.js";
import { Button, Field, IconButton, NumberInput, Slider } from "../parts/ui.js";
import { cardOf, draft } from "../state/draft.js";
import { pictureOf } from "../state/files.js";
import { library, lookSoon, remember, shown } from "../state/library.js";
import { notify } from "../state/notices.js";
import { go } from "../state/route.js";
import { client, session } from "../state/session.js";
import { useStore } from "../state/store.js";
import { addCard, changeCard, dropCard, freePlace, story, storyWish } from "../state/story.js";
import { number, say, seconds } from "../text/i18n.js";

const MOST_S = 20;
const CLIPS = 8;

export function Story() {
  const value = useStore(story);
  const { cards } = useStore(session);
  const card = cardOf(draft.get(), cards);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const send = async () => {
    const wish = storyWish(value, card);
    if (!wish.prompt) return setError(say("story.no_words"));
    setBusy(true);
    setError("");
    try {
      const made = await client().create(wish);
      remember([made]);
      lookSoon();
      go("video", made.id);
    } catch (refused) {
      if (!(refused instanceof ApiError)) throw refused;
      setError(refused.message);
    } finally {
      setBusy(false);
    }
  };
  return html`<div class="page">
    <header class="page-head"><h1>${say("nav.story")}</h1><p class="hint">${say("story.lead")}</p></header>
    <${Slider} id="story-length" label=${say("make.length")} value=${value.seconds} min="0.5" max=${MOST_S} step="0.5" shown=${seconds(value.seconds)} onInput=${(length) => story.set({ seconds: length })} />
    <${Track} value=${value} />
    <div class="buttons">
      <${AddStill} />
      <${Button} icon="plus" onClick=${() => addCard({ kind: "words", at: freePlace(value), url: "", text: "" })}>${say("story.words")}<//>
    </div>
    <${Clips} />
    <ul class="story-cards">${value.cards.map((one) => html`<${CardFields} key=${one.id} card=${one} most=${value.seconds} />`)}</ul>
    ${error && html`<p class="error" role="alert">${error}</p>`}
    <div><${Button} kind="primary" icon="make" busy=${busy} disabled=${!value.cards.length} onClick=${send}>${say("make.send")}<//></div>
  </div>`;
}

/** Time from left to right; cards are dragged along it. */
function Track({ value }) {
  const ref = useRef(null);
  const place = (/** @type {number} */ x) => {
    const box = /** @type {any} */ (ref.current).getBoundingClientRect();
    const share = Math.max(0, Math.min(1, (x - box.left) / box.width));
    return Math.round((document.documentElement.dir === "rtl" ? 1 - share : share) * value.seconds * 10) / 10;
  };
  const drag = (/** @type {any} */ event, /** @type {number} */ id) =>
    event.currentTarget.hasPointerCapture(event.pointerId) && changeCard(id, { at: place(event.clientX) });
  const key = (/** @type {KeyboardEvent} */ event, /** @type {any} */ card) => {
    const way = { ArrowRight: 0.1, ArrowLeft: -0.1 }[event.key];
    if (!way) return;
    event.preventDefault();
    changeCard(card.id, { at: Math.max(0, Math.min(value.seconds, Math.round((card.at + way) * 10) / 10)) });
  };
  return html`<div class="story-track" ref=${ref}>
    ${Array.from({ length: Math.floor(value.seconds) + 1 }, (_, tick) => html`<span key=${tick} class="story-tick" style=${{ insetInlineStart: `${(tick / value.seconds) * 100}%` }}>${number(tick)}</span>`)}
    ${value.cards.map((card) => html`<div key=${card.id} class=${`story-pin ${card.kind}`} role="slider" tabindex="0" aria-label=${card.text || say(`story.${card.kind}`)} aria-valuemin="0"
      aria-valuemax=${value.seconds} aria-valuenow=${card.at} aria-valuetext=${seconds(card.at)} style=${{ insetInlineStart: `${(Math.min(card.at, value.seconds) / value.seconds) * 100}%` }}
      onPointerDown=${(event) => event.currentTarget.setPointerCapture(event.pointerId)} onPointerMove=${(event) => drag(event, card.id)} onKeyDown=${(event) => key(event, card)}>
      ${card.kind === "still" ? html`<img src=${card.url} alt="" draggable=${false} />` : html`<span dir="auto">${card.text || "…"}</span>`}
    </div>`)}
  </div>`;
}

function CardFields({ card, most }) {
  const at = `story-at-${card.id}`;
  const text = `story-text-${card.id}`;
  return html`<li class="story-card">
    ${card.kind === "still" && html`<img src=${card.url} alt="" />`}
    <${Field} id=${at} label=${say("story.at")}>
      ${(attributes) => html`<${NumberInput} ...${attributes} min="0" max=${most} step="0.1" value=${card.at} onCommit=${(/** @type {number} */ at) => changeCard(card.id, { at: Math.max(0, Math.min(most, at)) })} />`}
    <//>
    <${Field} id=${text} label=${say(card.kind === "still" ? "story.seen" : "story.words")} wide>
      ${(attributes) => html`<textarea ...${attributes} rows="2" dir="auto" value=${card.text} onInput=${(event) => changeCard(card.id, { text: event.currentTarget.value })}></textarea>`}
    <//>
    <${IconButton} icon="trash" label=${say("delete")} onClick=${() => dropCard(card.id)} />
  </li>`;
}

function AddStill() {
  const take = async (/** @type {any} */ event) => {
    const files = [...event.currentTarget.files];
    event.currentTarget.value = "";
    try {
      for (const file of files) addCard({ kind: "still", at: freePlace(story.get()), url: await pictureOf(file), text: "" });
    } catch (error) {
      notify(/** @type {Error} */ (error).message, { kind: "error" });
    }
  };
  return html`<label class="button"><${Icon} name="image" /><span>${say("story.still")}</span><input class="heard" type="file" multiple accept="image/png,image/jpeg,image/webp" onChange=${take} /></label>`;
}

/** Finished clips: their first frame becomes a card, with their words. */
function Clips() {
  const byId = useStore(library, (value) => value.byId);
  const clips = byId && shown(library.get()).filter((video) => video.status === "completed").slice(0, CLIPS);
  if (!clips.length) return null;
  const add = async (/** @type {any} */ video) => {
    const picture = await client().content(video.id, "thumbnail");
    const url = await pictureOf(new File([picture], `${video.id}.webp`, { type: picture.type || "image/webp" }));
    addCard({ kind: "still", at: freePlace(story.get()), url, text: video.prompt ?? "" });
  };
  return html`<ul class="bin" aria-label=${say("story.clips")}>${clips.map((video) => html`<li key=${video.id}>
    <button type="button" title=${video.prompt} aria-label=${say("story.add_clip", { prompt: video.prompt ?? "" })} onClick=${() => add(video)}><${Thumb} video=${video} playing=${false} /></button></li>`)}</ul>`;
}
