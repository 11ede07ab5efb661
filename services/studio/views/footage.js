// A curated set: what became of everything that came in, and every clip with the reason.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { download, useFile } from "../api/media.js";
import { Grid } from "../parts/grid.js";
import { Icon } from "../parts/icons.js";
import { Button, Choice, Dialog, Empty, Field } from "../parts/ui.js";
import { footage, moreClips, narrow, openFootage } from "../state/boards.js";
import { notify } from "../state/notices.js";
import { go } from "../state/route.js";
import { useStore } from "../state/store.js";
import { number, say, seconds } from "../text/i18n.js";

const STATES = ["kept", "dropped", "failed"];

/** @param {{ id: string }} props the set by name */
export function Footage({ id }) {
  const { names, name, totals, clips, wanted, loading, error } = useStore(footage);
  useEffect(() => {
    openFootage(id);
  }, [id]);
  const report = () => download(`/footage/${encodeURIComponent(name)}/report`, `${name}.html`).catch((refused) => notify(refused.message, { kind: "error" }));
  return html`<div class="page">
    <header class="page-head"><h1>${say("nav.footage")}</h1>
      ${totals && html`<p class="hint">${say("footage.length", { time: seconds(totals.seconds) })}</p>`}
      ${totals?.has_report && html`<${Button} icon="down" onClick=${report}>${say("footage.report")}<//>`}
    </header>
    ${error && html`<p class="error" role="alert">${error}</p>`}
    ${names.length > 1 && html`<${Choice} name="set" label=${say("footage.set")} value=${name} options=${names.map((one) => ({ value: one, label: one }))} onChange=${(one) => go("footage", one)} />`}
    ${!names.length && !loading && !error ? html`<${Empty} icon="data" title=${say("footage.none")} />` : ""}
    ${totals && html`<${Funnel} totals=${totals} />`}
    ${totals && html`<${Filters} totals=${totals} wanted=${wanted} />`}
    ${totals && !loading && !clips.length && html`<p class="hint" role="status">${say("gallery.nothing")}</p>`}
    ${clips.length > 0 && html`<${Grid} videos=${clips} label=${say("footage.clips")} Item=${Clip} onEnd=${moreClips} />`}
  </div>`;
}

/** Objects and clips as bars that add up: nothing gets lost on the way. */
function Funnel({ totals }) {
  const bar = (/** @type {"objects" | "clips"} */ kind) => {
    const counts = STATES.map((status) => totals[kind].filter((/** @type {any} */ one) => one.status === status).reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.count, 0));
    const all = counts.reduce((sum, count) => sum + count, 0);
    const text = STATES.map((status, index) => `${number(counts[index])} ${say(`footage.${status}`)}`).join(" + ");
    return html`<div><p>${say(`footage.${kind}`)}: ${number(all)} = ${text}</p>
      <div class="funnel" aria-hidden="true">${STATES.map((status, index) => counts[index] > 0 && html`<i class=${status} style=${{ flexGrow: counts[index] }}></i>`)}</div></div>`;
  };
  return html`<section class="stack" aria-label=${say("footage.totals")}>${bar("objects")}${bar("clips")}</section>`;
}

function Filters({ totals, wanted }) {
  const [asked, setAsked] = useState(wanted.words);
  useEffect(() => {
    if (asked === wanted.words) return;
    const timer = setTimeout(() => narrow({ words: asked }), 250);
    return () => clearTimeout(timer);
  }, [asked]);
  const reasons = totals.clips.filter((/** @type {any} */ one) => one.reason && (!wanted.status || one.status === wanted.status));
  return html`<div class="toolbar" role="search">
    <div class="search"><${Icon} name="search" /><input type="search" aria-label=${say("footage.search")} placeholder=${say("footage.search")} value=${asked} onInput=${(event) => setAsked(event.currentTarget.value)} /></div>
    <${Choice} name="status" label=${say("footage.verdict")} value=${wanted.status} onChange=${(status) => narrow({ status, reason: "" })}
      options=${["", ...STATES].map((status) => ({ value: status, label: say(status ? `footage.${status}` : "gallery.all") }))} />
    <${Field} id="reason" label=${say("footage.reason")}>
      ${(attributes) => html`<select ...${attributes} value=${wanted.reason} onChange=${(event) => narrow({ reason: event.currentTarget.value })}>
        <option value="">${say("footage.any_reason")}</option>
        ${reasons.map((/** @type {any} */ one) => html`<option key=${one.status + one.reason} value=${one.reason}>${one.reason} (${number(one.count)})</option>`)}
      </select>`}
    <//>
  </div>`;
}

/** @param {any} clip */
const nameOf = (clip) => clip.caption || String(clip.uri).split("/").at(-1);

/** One clip: a picture where one was kept, its words, and why it went. */
function Clip({ video: clip }) {
  const [open, setOpen] = useState(false);
  const { url } = useFile(clip.preview ? previewOf(clip) : null);
  return html`<article class="card">
    <button type="button" class="card-picture" aria-label=${nameOf(clip)} onClick=${() => setOpen(true)}>
      <span class="thumb">${url ? html`<img src=${url} alt="" decoding="async" />` : html`<span class="thumb-note">${say("thumb.missing")}</span>`}</span>
      <span class=${`verdict ${clip.status}`}>${clip.reason ?? say(`footage.${clip.status}`)}</span>
      ${clip.end_s !== null && html`<span class="card-length">${seconds(clip.end_s - clip.start_s)}</span>`}
    </button>
    <div class="card-words"><p title=${nameOf(clip)} dir="auto">${nameOf(clip)}</p></div>
    ${open && html`<${About} clip=${clip} url=${url} onClose=${() => setOpen(false)} />`}
  </article>`;
}

/** @param {any} clip */
const previewOf = (clip) => `/footage/${encodeURIComponent(footage.get().name)}/clips/${encodeURIComponent(clip.place)}/preview`;

function About({ clip, url, onClose }) {
  const facts = [
    ["footage.verdict", [say(`footage.${clip.status}`), clip.reason].filter(Boolean).join(": ")],
    ["footage.from", clip.uri],
    ["footage.span", clip.end_s === null ? null : `${number(clip.start_s)} – ${number(clip.end_s)} s`],
    ["fact.size", clip.width && `${clip.width} × ${clip.height} · ${number(clip.fps ?? 0)} fps`],
    ["fact.length", clip.frames],
    ["footage.licence", clip.licence],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<${Dialog} label=${nameOf(clip)} onClose=${onClose}>
    ${url && html`<img class="about-picture" src=${url} alt="" />`}
    <dl class="facts">
      ${facts.map(([name, value]) => html`<div key=${name}><dt>${say(String(name))}</dt><dd dir="auto">${value}</dd></div>`)}
      ${Object.entries(clip.scores).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${number(value, { maximumSignificantDigits: 4 })}</dd></div>`)}
    </dl>
  <//>`;
}
