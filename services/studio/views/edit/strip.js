// The timeline: the film's frames, what will be added before and after it, and edges to drag.
import { html, useLayoutEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { useMedia } from "../../api/media.js";
import { sheetOf, spot, Thumb } from "../../parts/thumb.js";
import { edit } from "../../state/edit.js";
import { library, shown } from "../../state/library.js";
import { useStore } from "../../state/store.js";
import { number, say, seconds } from "../../text/i18n.js";

const MOST_S = 30;
const BIN = 24;

/** @param {{ video: import("../../api/types.js").Video, card: import("../../api/types.js").ModelCard }} props */
export function Strip({ video, card }) {
  const value = useStore(edit);
  const ref = useRef(null);
  const length = video.num_frames / video.fps;
  const other = useStore(library, (state) => (value.other ? state.byId.get(value.other) : undefined));
  const { tool, before, after } = value;
  const behind = other ? other.num_frames / other.fps : length;
  const added = { extend: after, loop: value.loopS, blend: value.blendS + behind, cut: behind }[tool] ?? 0;
  const joins = tool === "blend" || tool === "cut";
  const ahead = tool === "extend" ? before : 0;
  const beyond = tool === "extend" && !before ? after : 0;
  const whole = Math.max(length * 1.6, ahead + length + (before > 0 && tool === "extend" ? 0 : added));
  const scale = () => /** @type {any} */ (ref.current).clientWidth / whole; // px a second
  const share = (/** @type {number} */ time) => `${(time / whole) * 100}%`;
  const cut = { start: value.from / video.fps, end: (value.until + 1) / video.fps };
  const pull = (/** @type {"start" | "end"} */ edge, /** @type {number} */ by) => {
    const frames = Math.round(by * video.fps);
    if (edge === "end") {
      const reach = value.until - (video.num_frames - 1) + Math.round(beyond * video.fps) + frames;
      pulled("end", reach, video);
    } else pulled("start", -value.from + Math.round(ahead * video.fps) - frames, video);
  };
  const drop = (/** @type {DragEvent} */ event) => {
    const id = event.dataTransfer?.getData("text/x-sora-video");
    if (!id) return;
    event.preventDefault();
    choose(card, id);
  };
  return html`<section class="strip" aria-label=${say("strip.label")} onDrop=${drop} onDragOver=${(event) => event.preventDefault()}>
    <div class="strip-track" ref=${ref}>
      ${ahead > 0 && html`<div class="strip-new" style=${{ inlineSize: share(ahead) }}>+${seconds(ahead)}</div>`}
      <div class="strip-clip" style=${{ inlineSize: share(length) }}>
        <${Frames} video=${video} />
        <div class="strip-off" style=${{ insetInlineStart: 0, inlineSize: `${(cut.start / length) * 100}%` }}></div>
        <div class="strip-off" style=${{ insetInlineEnd: 0, inlineSize: `${(1 - cut.end / length) * 100}%` }}></div>
        <div class="strip-now" style=${{ insetInlineStart: `${((value.frame + 0.5) / video.num_frames) * 100}%` }}></div>
        ${(card.edits.includes("extend_backward") || tool !== "extend") && html`<${Edge} edge="start" at=${cut.start / length} pull=${pull} scale=${scale} step=${1 / video.fps} shown=${edgeText(cut.start, ahead)} />`}
        <${Edge} edge="end" at=${cut.end / length} pull=${pull} scale=${scale} step=${1 / video.fps} shown=${edgeText(length - cut.end, beyond)} />
      </div>
      ${tool === "blend" ? html`<${Gap} value=${value} scale=${scale} share=${share} />` : ""}
      ${joins && other ? html`<div class="strip-clip" style=${{ inlineSize: share(other.num_frames / other.fps) }}><${Frames} video=${other} /></div>` : ""}
      ${joins && !other ? html`<div class="strip-empty" style=${{ inlineSize: share(length) }}>${say("strip.drop")}</div>` : ""}
      ${beyond > 0 ? html`<div class="strip-new" style=${{ inlineSize: share(beyond) }}>+${seconds(beyond)}</div>` : ""}
      ${tool === "loop" ? html`<div class="strip-new" style=${{ inlineSize: share(value.loopS) }}>↺ ${seconds(value.loopS)}</div>` : ""}
    </div>
    ${["transition", "join"].some((name) => card.edits.includes(name)) && html`<${Bin} video=${video} card=${card} chosen=${value.other} tool=${tool} />`}
  </section>`;
}

/** @param {any} card @param {string} id the clip behind: joined while one cuts, blended with otherwise where the model can */
const choose = (card, id) =>
  edit.set((value) => ({ ...value, other: id, tool: value.tool === "cut" || !card.edits.includes("transition") ? "cut" : "blend" }));

/** @param {number} off @param {number} on */
const edgeText = (off, on) => (off > 0.001 ? say("strip.cut", { time: seconds(off) }) : say("strip.added", { time: seconds(on) }));

/** An edge by its distance in frames beyond the film: outwards it extends, inwards it cuts. */
function pulled(/** @type {"start" | "end"} */ edge, /** @type {number} */ reach, /** @type {any} */ video) {
  const extra = Math.min(MOST_S, Math.max(0, reach) / video.fps);
  const inside = Math.min(video.num_frames - 2, Math.max(0, -reach));
  const value = edit.get();
  const tool = reach > 0 ? "extend" : value.tool;
  if (edge === "end") edit.set({ tool, after: extra, before: reach > 0 ? 0 : value.before, until: Math.max(value.from + 1, video.num_frames - 1 - inside) });
  else edit.set({ tool, before: extra, from: Math.min(value.until - 1, inside), ...(reach > 0 ? { after: 0 } : {}) });
}

/** A handle that the pointer drags and arrow keys move by a step or, with shift, by a second. */
function Edge({ edge, at, pull, scale, shown, step }) {
  const [from, setFrom] = useState(/** @type {number | null} */ (null));
  const rtl = document.documentElement.dir === "rtl" ? -1 : 1;
  const down = (/** @type {any} */ event) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    setFrom(event.clientX);
  };
  const move = (/** @type {any} */ event) => {
    if (from === null) return;
    const steps = Math.trunc(((event.clientX - from) * rtl) / scale() / step);
    if (!steps) return; // what is less than a step waits for the rest of it
    pull(edge, steps * step);
    setFrom(from + steps * step * scale() * rtl);
  };
  const key = (/** @type {KeyboardEvent} */ event) => {
    const way = { ArrowRight: rtl, ArrowLeft: -rtl, ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    pull(edge, way * (event.shiftKey ? 1 : step));
  };
  return html`<div class=${`edge ${edge}`} role="slider" tabindex="0" aria-label=${say(`strip.${edge}`)} aria-valuemin="0" aria-valuemax="1" aria-valuenow=${at}
    aria-valuetext=${shown} title=${shown} style=${{ insetInlineStart: `${at * 100}%` }} onPointerDown=${down} onPointerMove=${move} onPointerUp=${() => setFrom(null)} onKeyDown=${key}></div>`;
}

/** The length of a blend, by dragging the far side of the gap. */
function Gap({ value, scale, share }) {
  const pull = (/** @type {string} */ _, /** @type {number} */ by) => edit.set({ blendS: Math.max(0.25, Math.min(8, Math.round((edit.get().blendS + by) * 20) / 20)) });
  return html`<div class="strip-new gap" style=${{ inlineSize: share(value.blendS) }}>${seconds(value.blendS)}
    <${Edge} edge="gap" at=${1} pull=${pull} scale=${scale} step=${0.05} shown=${seconds(value.blendS)} /></div>`;
}

/** The film's frames side by side, out of its sprite sheet: as many as there is room for in their own shape. */
function Frames({ video }) {
  const ref = useRef(null);
  const [cells, setCells] = useState(1);
  const { url } = useMedia(video, "spritesheet");
  const { frames, rows } = sheetOf(video);
  useLayoutEffect(() => {
    const box = /** @type {any} */ (ref.current);
    const watcher = new ResizeObserver(() => setCells(Math.max(1, Math.ceil(box.clientWidth / (box.clientHeight * (video.width / video.height))))));
    watcher.observe(box);
    return () => watcher.disconnect();
  }, [video.id]);
  const shape = { aspectRatio: `${video.width} / ${video.height}` };
  return html`<div class="strip-frames" ref=${ref} aria-hidden="true">
    ${url && Array.from({ length: cells }, (_, cell) => html`<i key=${cell} style=${{ ...shape, backgroundImage: `url("${url}")`, ...spot(Math.round((cell / Math.max(1, cells - 1)) * (frames - 1)), rows) }}></i>`)}
  </div>`;
}

/** Other clips, to drag onto the film's end or to choose. */
function Bin({ video, card, chosen, tool }) {
  const clips = useStore(library, shownClips);
  const others = clips.filter((one) => one.id !== video.id).slice(0, BIN);
  if (!others.length) return null;
  return html`<ul class="bin" aria-label=${say("strip.bin")}>
    ${others.map((one) => html`<li key=${one.id}><button type="button" draggable=${true} aria-pressed=${one.id === chosen} title=${one.prompt}
      aria-label=${say(tool === "cut" ? "strip.join_with" : "strip.blend_with", { prompt: one.prompt ?? "" })} onClick=${() => choose(card, one.id)}
      onDragStart=${(event) => event.dataTransfer.setData("text/x-sora-video", one.id)}><${Thumb} video=${one} playing=${false} /></button></li>`)}
  </ul>`;
}

let lastLibrary = /** @type {any} */ (null);
let lastClips = /** @type {import("../../api/types.js").Video[]} */ ([]);

/** The finished clips; the same list while the library is the same. @param {import("../../state/library.js").Library} state */
function shownClips(state) {
  if (state.byId === lastLibrary) return lastClips;
  lastLibrary = state.byId;
  lastClips = shown(state).filter((video) => video.status === "completed");
  return lastClips;
}
