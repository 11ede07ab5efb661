// A video in a list: its picture, its words, and what can be done with it at once.
import { html, useState } from "../vendor/preact-htm.js";
import { cancel, isOpen, library, predictedEnd, remove } from "../state/library.js";
import { prefs, toggleFavourite } from "../state/prefs.js";
import { go, to } from "../state/route.js";
import { recall } from "../state/draft.js";
import { useStore } from "../state/store.js";
import { number, say, sayIf, seconds } from "../text/i18n.js";
import { IconButton, Progress } from "./ui.js";
import { Thumb } from "./thumb.js";

/** @typedef {import("../api/types.js").Video} Video */

/** @param {{ video: Video }} props */
export function Card({ video }) {
  const [pointed, setPointed] = useState(false);
  const favourite = useStore(prefs, (value) => value.favourites.includes(video.id));
  const name = video.prompt || say("video.untitled");
  return html`<article class="card" onPointerEnter=${() => setPointed(true)} onPointerLeave=${() => setPointed(false)}>
    <a class="card-picture" href=${to("video", video.id)} aria-label=${name} onFocus=${() => setPointed(true)} onBlur=${() => setPointed(false)}>
      <${Thumb} video=${video} playing=${pointed} />
      ${isOpen(video) && html`<div class="card-making"><span>${stateOf(video)}</span><${Progress} value=${video.progress} label=${say("queue.progress_of", { prompt: name })} /></div>`}
      ${video.status === "failed" && html`<div class="card-failed">${failure(video)}</div>`}
      <span class="card-length">${lengthOf(video)}</span>
    </a>
    <div class="card-words">
      <p title=${name} dir="auto">${name}</p>
      <${IconButton} icon="star" kind="small" filled=${favourite} pressed=${favourite} label=${say("favourite")} onClick=${() => toggleFavourite(video.id)} />
    </div>
  </article>`;
}

/** @param {Video} video by what kind of edit it came, if by any */
export const editName = (video) => (video.edit ? sayIf(`edit.${video.edit}`) ?? video.edit : null);

/** @param {Video} video */
export const lengthOf = (video) => seconds(Number(video.seconds) || 0);

/** @param {Video} video */
export function stateOf(video) {
  if (video.status !== "queued") return `${number(video.progress)} %`;
  const place = video.queue_position;
  return place ? say("queue.place", { place: number(place) }) : say("queue.waiting");
}

/** @param {Video} video why it ended without a film, in words */
export function failure(video) {
  const code = video.error?.code ?? "";
  if (code === "cancelled") return say("failed.cancelled");
  if (code === "moderation_blocked") return say("failed.moderated");
  return video.error?.message || say("failed");
}

/** An open video as a row: what it is, how far it is, and the way to stop it. @param {{ video: Video, position: number }} props */
export function QueueRow({ video, position }) {
  const [busy, setBusy] = useState(false);
  useStore(library, (value) => value.byId.get(video.id));
  const end = predictedEnd(video);
  const stop = async () => {
    setBusy(true);
    await cancel(video).catch(() => setBusy(false));
  };
  const name = video.prompt || say("video.untitled");
  return html`<li class="queue-row">
    <div class="queue-place" aria-hidden="true">
      <div class=${`queue-pulse ${video.status}`} style=${{ aspectRatio: `${video.width || 16} / ${video.height || 9}` }}></div>
    </div>
    <div class="queue-words">
      <p dir="auto"><a href=${to("video", video.id)}>${name}</a></p>
      <p class="hint">${[lengthOf(video), video.size.replace("x", " × "), editName(video)].filter(Boolean).join(" · ")}</p>
      <${Progress} value=${video.progress} label=${say("queue.progress_of", { prompt: name })} />
    </div>
    <div class="queue-state">
      <strong>${video.status === "queued" ? say("queue.place", { place: number(video.queue_position ?? position) }) : `${number(video.progress)} %`}</strong>
      <span class="hint">${end ? say("queue.left", { time: end }) : say("queue.waiting")}</span>
    </div>
    <${IconButton} icon="close" label=${say("queue.cancel_of", { prompt: name })} disabled=${busy} onClick=${stop} />
  </li>`;
}

/** What ended badly lately, with the way to try again. @param {{ video: Video }} props */
export function FailedRow({ video }) {
  const again = () => {
    recall(video);
    go("make");
  };
  return html`<li class="queue-row failed">
    <div class="queue-words">
      <p dir="auto">${video.prompt}</p>
      <p class="error">${failure(video)}</p>
    </div>
    <button type="button" class="button small" onClick=${again}>${say("queue.again")}</button>
    <${IconButton} icon="trash" label=${say("delete")} onClick=${() => remove([video])} />
  </li>`;
}
