// The edit at hand: one operation on one video, and how it becomes a request.
import { client } from "./session.js";
import { maskOf } from "./mask.js";
import { createStore } from "./store.js";

/** @typedef {import("../api/types.js").Video} Video */
/** @typedef {import("../api/types.js").ModelCard} ModelCard */
/** @typedef {"extend" | "loop" | "blend" | "repaint" | "outpaint" | "restyle" | "rate" | "cut"} Tool */
/**
 * ``before``, ``after``: seconds to add. ``from``, ``until``: the frames of the source that are used. ``other``: the
 * second clip of a blend. ``brush``: its width in pixels of the film; ``span``: the frames that a new shape is for.
 * @typedef {{ tool: Tool, prompt: string, seed: string, before: number, after: number, from: number, until: number,
 *   loopS: number, other: string | null, blendS: number, strength: number, doublings: number, width: number, height: number,
 *   pen: "brush" | "box" | "eraser", brush: number, feather: boolean, follow: boolean, span: [number, number],
 *   shapes: import("./mask.js").Shape[], undone: import("./mask.js").Shape[], selected: number, frame: number }} Edit
 */

/** What each tool asks of a model: one of these among its edits. @type {Record<Tool, string[]>} */
const NEEDS = {
  extend: ["extend_forward", "extend_backward"], loop: ["loop"], blend: ["transition"], repaint: ["repaint"],
  outpaint: ["outpaint"], restyle: ["restyle"], rate: ["interpolate"], cut: ["join"],
};

/** @param {ModelCard} card @returns {Tool[]} */
export const toolsOf = (card) =>
  /** @type {Tool[]} */ (Object.keys(NEEDS)).filter((tool) => NEEDS[tool].some((name) => card.edits.includes(name)));

/** @param {Video} video @param {Tool} tool @returns {Edit} */
export function begun(video, tool) {
  const seconds = video.num_frames / video.fps;
  return {
    tool, prompt: video.prompt ?? "", seed: "", before: 0, after: Math.max(1, Math.round(seconds / 2)), from: 0,
    until: video.num_frames - 1, loopS: Math.max(0.5, Math.round(seconds) / 2), other: null, blendS: 1, strength: 0.7,
    doublings: 1, width: video.width, height: video.height, pen: "brush", brush: Math.round(video.height / 6),
    feather: true, follow: false, span: [0, video.num_frames - 1], shapes: [], undone: [], selected: -1, frame: 0,
  };
}

/** @type {import("./store.js").Store<Edit>} */
export const edit = createStore(/** @type {any} */ ({ tool: "extend", shapes: [], undone: [] }));

/** @param {import("./mask.js").Shape} shape a new one, which ends what could be done again */
export const addShape = (shape) =>
  edit.set((value) => ({ ...value, shapes: [...value.shapes, shape], selected: value.shapes.length, undone: [] }));

/** @param {import("./mask.js").Shape} shape in the place of the selected one */
export const changeShape = (shape) =>
  edit.set((value) => ({ ...value, shapes: value.shapes.map((old, index) => (index === value.selected ? shape : old)) }));

export function undo() {
  const { shapes, undone } = edit.get();
  if (shapes.length) edit.set({ shapes: shapes.slice(0, -1), undone: [...undone, /** @type {any} */ (shapes.at(-1))], selected: -1 });
}

export function redo() {
  const { shapes, undone } = edit.get();
  if (undone.length) edit.set({ shapes: [...shapes, /** @type {any} */ (undone.at(-1))], undone: undone.slice(0, -1) });
}

/** @param {Edit} value @param {Video} video the part of the source that is used, when it isn't all */
function part(value, video) {
  const start = value.from > 0 ? { start_s: value.from / video.fps } : {};
  return value.until < video.num_frames - 1 ? { ...start, end_s: (value.until + 1) / video.fps } : start;
}

/** @param {Edit} value @param {Video} video frames that were asked for, whole latent ones where the way is closed */
const newFrames = (/** @type {number} */ seconds, /** @type {Video} */ video) => Math.max(1, Math.round(seconds * video.fps));

/**
 * Send the edit. Null when something is missing that only a person can give.
 * @param {Edit} value @param {Video} video @returns {Promise<Video | null>}
 */
export async function send(value, video) {
  const seed = value.seed === "" ? undefined : Number(value.seed);
  const common = { prompt: value.prompt.trim(), seed, model: video.model };
  const source = { ...common, video: { id: video.id } };
  const api = client();
  if (value.tool === "blend")
    return value.other ? api.join({ ...common, videos: [video.id, value.other], seconds: value.blendS }) : null;
  if (value.tool === "cut") {
    const cut = { id: video.id, ...part(value, video) };
    const others = value.other ? [{ id: value.other }] : [];
    return others.length || Object.keys(cut).length > 1 ? api.cut({ clips: [cut, ...others], prompt: common.prompt || undefined }) : null;
  }
  if (value.tool === "loop") return api.extend({ ...source, ...part(value, video), seconds: value.loopS, loop: true });
  if (value.tool === "extend") {
    const backward = value.before > 0;
    const num_frames = newFrames(backward ? value.before : value.after, video);
    return api.extend({ ...source, ...part(value, video), num_frames, direction: backward ? "backward" : "forward" });
  }
  if (value.tool === "repaint") {
    const mask = await maskOf(value.shapes, video);
    // Beside files the values of a form are texts, and an id is one.
    return mask && api.edit(mask.boxes ? { ...source, ...mask } : { ...common, video_id: video.id, ...mask });
  }
  const cut = { ...source, ...part(value, video) };
  if (value.tool === "outpaint") return api.edit({ ...cut, size: `${value.width}x${value.height}` });
  if (value.tool === "rate")
    return api.edit({ ...cut, enable_frame_interpolation: true, frame_interpolation_exp: value.doublings });
  return api.edit({ ...cut, strength: value.strength });
}
