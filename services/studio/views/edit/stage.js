// The film under the hands: played, stepped, painted on, and pulled larger.
import { html, useEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { useMedia } from "../../api/media.js";
import { timeOf, useFrames } from "../../parts/film.js";
import { IconButton } from "../../parts/ui.js";
import { addShape, changeShape, edit } from "../../state/edit.js";
import { paint, withKey } from "../../state/mask.js";
import { useStore } from "../../state/store.js";
import { number, say } from "../../text/i18n.js";

const MASK = "#22d3ee"; // unlike what films are mostly of

/** @param {{ video: any, card: any, url: string | null }} props */
export function Stage({ video, card, url }) {
  const film = useRef(null);
  const still = useMedia(video, "thumbnail");
  const value = useStore(edit);
  const [playing, setPlaying] = useState(false);
  const element = () => /** @type {any} */ (film.current);
  useFrames(film, url, video.fps, video.num_frames, (frame) => edit.set({ frame }));
  const seek = (/** @type {number} */ to) => {
    const frame = Math.max(0, Math.min(video.num_frames - 1, to));
    element()?.pause();
    if (element()) element().currentTime = timeOf(frame, video.fps);
    edit.set({ frame });
  };
  const grown = value.tool === "outpaint";
  const outer = { width: grown ? value.width : video.width, height: grown ? value.height : video.height };
  return html`<div class="stage">
    <div class="stage-area" style=${{ "--aspect": outer.width / outer.height }}>
      <div class="stage-film" style=${{ inlineSize: `${(video.width / outer.width) * 100}%`, blockSize: `${(video.height / outer.height) * 100}%` }}>
        <video ref=${film} src=${url} poster=${still.url} muted loop playsinline preload="auto" aria-label=${video.prompt} onPlay=${() => setPlaying(true)} onPause=${() => setPlaying(false)}></video>
        ${value.tool === "repaint" && html`<${Canvas} video=${video} value=${value} />`}
      </div>
      ${grown && html`<${Frame} value=${value} video=${video} card=${card} />`}
    </div>
    <div class="film-controls">
      <${IconButton} icon=${playing ? "pause" : "play"} label=${say(playing ? "film.pause" : "film.play")} onClick=${() => (playing ? element().pause() : element().play())} />
      <${IconButton} icon="back" label=${say("film.back")} onClick=${() => seek(value.frame - 1)} />
      <${IconButton} icon="next" label=${say("film.next")} onClick=${() => seek(value.frame + 1)} />
      <input class="film-seek" type="range" min="0" max=${video.num_frames - 1} value=${value.frame} aria-label=${say("film.seek")} onInput=${(event) => seek(Number(event.currentTarget.value))} />
      <output class="film-frame">${number(value.frame + 1)} / ${number(video.num_frames)}</output>
    </div>
  </div>`;
}

/** The mask at this frame, and the pen that paints it. */
function Canvas({ video, value }) {
  const ref = useRef(null);
  const [drawing, setDrawing] = useState(/** @type {any} */ (null));
  const shapes = drawing ? [...value.shapes, drawing] : value.shapes;
  useEffect(() => {
    const context = /** @type {any} */ (ref.current).getContext("2d");
    context.clearRect(0, 0, video.width, video.height);
    paint(context, shapes, value.frame, MASK);
  }, [shapes, drawing, value.frame]);
  const at = (/** @type {PointerEvent} */ event) => {
    const box = /** @type {any} */ (ref.current).getBoundingClientRect();
    return /** @type {[number, number]} */ ([((event.clientX - box.left) / box.width) * video.width, ((event.clientY - box.top) / box.height) * video.height]);
  };
  const down = (/** @type {PointerEvent} */ event) => {
    /** @type {any} */ (event.currentTarget).setPointerCapture(event.pointerId);
    const [x, y] = at(event);
    const [from, to] = value.span;
    if (value.pen === "box") setDrawing({ kind: "box", from, to, start: [x, y], keys: [{ frame: value.frame, x, y, width: 1, height: 1 }] });
    else setDrawing({ kind: "stroke", erase: value.pen === "eraser", size: value.brush, from, to, points: [[x, y]] });
  };
  const move = (/** @type {PointerEvent} */ event) => {
    if (!drawing) return;
    const [x, y] = at(event);
    if (drawing.kind === "stroke") return setDrawing({ ...drawing, points: [...drawing.points, [x, y]] });
    const [left, top] = drawing.start;
    const key = { frame: value.frame, x: Math.min(left, x), y: Math.min(top, y), width: Math.abs(x - left) || 1, height: Math.abs(y - top) || 1 };
    setDrawing({ ...drawing, keys: [key] });
  };
  const up = () => {
    if (!drawing) return;
    const { start, ...shape } = drawing;
    const selected = value.shapes[value.selected];
    const same = shape.kind === "box" && selected?.kind === "box" && !selected.keys.some((/** @type {any} */ key) => key.frame === value.frame) && value.follow;
    if (same) changeShape(withKey(selected, shape.keys[0]));
    else addShape(shape);
    setDrawing(null);
  };
  return html`<canvas ref=${ref} class=${`mask${value.feather ? " feather" : ""}`} width=${video.width} height=${video.height} role="img" aria-label=${say("mask.canvas", { count: value.shapes.length })}
    onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${() => setDrawing(null)}></canvas>`;
}

/** The frame that is dragged larger; the film stays in its middle. */
function Frame({ value, video, card }) {
  const step = card.size_multiple;
  const from = useRef({ x: 0, y: 0, size: 0, scale: 1 });
  const grow = (/** @type {"width" | "height"} */ side, /** @type {number} */ to) =>
    edit.set({ [side]: Math.max(video[side], Math.min(4 * video[side], Math.round(to / step) * step)) });
  const side = (/** @type {"width" | "height"} */ name) => {
    const down = (/** @type {any} */ event) => {
      event.currentTarget.setPointerCapture(event.pointerId);
      const film = event.currentTarget.parentElement.querySelector(".stage-film").getBoundingClientRect();
      // The scale as it is now: the film shrinks while its frame grows.
      from.current = { x: event.clientX, y: event.clientY, size: value[name], scale: film.width / video.width };
    };
    const drag = (/** @type {any} */ event) => {
      if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
      const { x, y, size, scale } = from.current;
      const by = name === "width" ? event.clientX - x : event.clientY - y;
      grow(name, size + (2 * by) / scale);
    };
    const key = (/** @type {KeyboardEvent} */ event) => {
      const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!way) return;
      event.preventDefault();
      grow(name, value[name] + way * step);
    };
    return html`<div class=${`grip ${name}`} role="slider" tabindex="0" aria-label=${say(`make.${name}`)} aria-valuemin=${video[name]} aria-valuemax=${4 * video[name]}
      aria-valuenow=${value[name]} onPointerDown=${down} onPointerMove=${drag} onKeyDown=${key}></div>`;
  };
  return html`<div class="stage-frame" aria-hidden="true"></div>${side("width")}${side("height")}`;
}

