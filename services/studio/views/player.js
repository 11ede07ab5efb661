// One video: the film, what made it, and what can be made of it.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { useMedia } from "../api/media.js";
import { asCurl, asPython } from "../api/snippets.js";
import { editName, failure, stateOf } from "../parts/card.js";
import { Film } from "../parts/film.js";
import { Origin } from "../parts/origin.js";
import { Button, Empty, IconButton, Progress } from "../parts/ui.js";
import { cancel, find, isOpen, library, predictedEnd, remove } from "../state/library.js";
import { recall } from "../state/draft.js";
import { toolsOf } from "../state/edit.js";
import { notify } from "../state/notices.js";
import { prefs, toggleFavourite } from "../state/prefs.js";
import { go, to } from "../state/route.js";
import { client, session } from "../state/session.js";
import { useStore } from "../state/store.js";
import { day, number, say } from "../text/i18n.js";

/** @typedef {import("../api/types.js").Video} Video */

/** @param {{ id: string }} props */
export function Player({ id }) {
  const video = useStore(library, (value) => (value.hidden.has(id) ? undefined : value.byId.get(id)));
  const [missing, setMissing] = useState(false);
  useEffect(() => {
    find(id).then((found) => setMissing(!found), (error) => notify(error.message, { kind: "error" }));
  }, [id]);
  if (!video) return missing ? html`<${Empty} icon="gallery" title=${say("video.missing")}><${Button} href=${to("gallery")}>${say("nav.gallery")}<//><//>` : null;
  return html`<div class="player">
    <section class="player-stage" aria-label=${say("video.film")}><${Stage} video=${video} /></section>
    <section class="player-side" aria-label=${say("video.about")}><${About} video=${video} /></section>
  </div>`;
}

/** @param {{ video: Video }} props the finished film appears whole; before that there is only how far it is */
function Stage({ video }) {
  const { url, failed } = useMedia(video, "video");
  const box = { aspectRatio: `${video.width || 16} / ${video.height || 9}` };
  if (video.status === "failed") return html`<div class="stage-note" style=${box}><p class="error">${failure(video)}</p></div>`;
  if (isOpen(video)) {
    const end = predictedEnd(video);
    return html`<div class="stage-note making" style=${box}>
      <p class="stage-percent">${stateOf(video)}</p>
      <${Progress} value=${video.progress} label=${say("queue.progress_of", { prompt: video.prompt ?? "" })} />
      <p class="hint">${end ? say("queue.left", { time: end }) : say("queue.waiting")}</p>
      <${Button} icon="close" onClick=${() => cancel(video)}>${say("queue.cancel")}<//>
    </div>`;
  }
  if (failed) return html`<div class="stage-note" style=${box}><p class="error">${say("video.gone")}</p></div>`;
  return html`<${Film} url=${url} video=${video} />`;
}

/** @param {{ video: Video }} props */
function About({ video }) {
  return html`<div class="stack">
    <h1 class="prompt" dir="auto">${video.prompt || say("video.untitled")}</h1>
    ${video.revised_prompt && html`<p class="hint" dir="auto">${video.revised_prompt}</p>`}
    ${video.negative_prompt && html`<p class="hint" dir="auto">${say("make.negative")}: ${video.negative_prompt}</p>`}
    <${Actions} video=${video} />
    <${Facts} video=${video} />
    <${Siblings} video=${video} />
    ${video.status === "completed" && html`<${Origin} key=${video.id} video=${video} />`}
  </div>`;
}

/** @param {{ video: Video }} props */
function Actions({ video }) {
  const favourite = useStore(prefs, (value) => value.favourites.includes(video.id));
  const { url } = useMedia(video, "video");
  const edits = useStore(session, ({ cards }) => cards.some((card) => toolsOf(card).length > 0));
  const casts = useStore(session, ({ cards }) => cards.some((card) => card.characters));
  const done = video.status === "completed";
  const again = () => {
    recall(video);
    go("make");
  };
  const copy = async (/** @type {(video: Video, base: string) => string} */ write) => {
    await navigator.clipboard.writeText(write(video, client().base));
    notify(say("copied"));
  };
  const drop = () => {
    remove([video]);
    go("gallery");
  };
  return html`<div class="actions">
    ${done && edits && html`<${Button} icon="cut" kind="primary" href=${to("edit", video.id)}>${say("video.edit")}<//>`}
    <${Button} icon="remix" onClick=${again}>${say("video.recall")}<//>
    <${Button} icon="tree" href=${to("tree", video.id)}>${say("video.tree")}<//>
    ${done && casts && html`<${Button} icon="cast" href=${to("characters", video.id)}>${say("cast.of_video")}<//>`}
    <div class="action-row">
      <${IconButton} icon="star" filled=${favourite} pressed=${favourite} label=${say("favourite")} onClick=${() => toggleFavourite(video.id)} />
      ${url && html`<${IconButton} icon="down" label=${say("download")} href=${url} download=${`${video.id}-video.mp4`} />`}
      <${Button} kind="small quiet" icon="copy" onClick=${() => copy(asCurl)}>curl<//>
      <${Button} kind="small quiet" icon="copy" onClick=${() => copy(asPython)}>Python<//>
      <${IconButton} icon="trash" label=${say("delete")} onClick=${drop} />
    </div>
  </div>`;
}

/** @param {{ video: Video }} props */
function Facts({ video }) {
  const rows = [
    ["make.model", video.model],
    ["fact.size", video.size.replace("x", " × ")],
    ["fact.length", video.num_frames && `${number(video.num_frames)} · ${number(video.fps ?? 0)} fps`],
    ["make.seed", video.seed],
    ["make.steps", video.num_inference_steps],
    ["make.guidance", video.guidance_scale],
    ["fact.edit", editName(video)],
    ["fact.made", day(video.created_at)],
  ].filter(([, value]) => value !== undefined && value !== null && value !== "");
  return html`<dl class="facts">${rows.map(([name, value]) => html`<div key=${name}><dt>${say(String(name))}</dt><dd dir="auto">${value}</dd></div>`)}</dl>`;
}

/** @param {{ video: Video }} props what the same words and settings gave from other seeds */
function Siblings({ video }) {
  const byId = useStore(library, (value) => value.byId);
  const seeds = seedsOf(video, [...byId.values()]);
  if (seeds.length < 2) return null;
  return html`<${Button} icon="compare" href=${to("compare", seeds.map((one) => one.id).join(","))}>${say("video.compare", { count: seeds.length })}<//>`;
}

const SAME = /** @type {const} */ (["prompt", "model", "size", "num_frames", "negative_prompt", "guidance_scale", "num_inference_steps", "edit"]);
const MOST_SEEDS = 8;

/** @param {Video} video @param {Video[]} videos itself and the nearest in time of its kind, a seed once */
export function seedsOf(video, videos) {
  if (video.status !== "completed" || video.edit) return [];
  const alike = videos.filter((other) => other.status === "completed" && SAME.every((name) => other[name] === video[name]));
  alike.sort((a, b) => Math.abs(a.created_at - video.created_at) - Math.abs(b.created_at - video.created_at));
  const bySeed = new Map([[video.seed, video]]);
  for (const one of alike) if (!bySeed.has(one.seed)) bySeed.set(one.seed, one);
  return [...bySeed.values()].slice(0, MOST_SEEDS).sort((a, b) => a.seed - b.seed);
}
