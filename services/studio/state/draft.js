// What the Make view holds, and how it becomes a request. A draft knows no view.
import { session } from "./session.js";
import { createStore } from "./store.js";

/** @typedef {import("../api/types.js").ModelCard} ModelCard */
/** @typedef {import("../api/types.js").Video} Video */
/** @typedef {{ place: "first" | "last" | number, url: string, name: string }} Still */
/**
 * Empty texts mean: as the model does by itself.
 * @typedef {{ prompt: string, negative: string, model: string, shape: "auto" | "free" | string, width: number,
 *   height: number, seconds: number | null, seed: string, steps: string, guidance: string, count: number,
 *   priority: number, loop: boolean, rate: number, stills: Still[], characters: string[] }} Draft
 */

/** @returns {Draft} */
export const blank = () => ({
  prompt: "", negative: "", model: "", shape: "auto", width: 0, height: 0, seconds: null, seed: "", steps: "",
  guidance: "", count: 1, priority: 0, loop: false, rate: 0, stills: [], characters: [],
});
export const draft = createStore(blank());
export const ASPECTS = ["16:9", "4:3", "1:1", "3:4", "9:16", "21:9"];

/** @param {Draft} value @param {ModelCard[]} cards @returns {ModelCard | undefined} the model that it is for */
export const cardOf = (value, cards) => cards.find((card) => card.id === value.model) ?? cards[0];

/** @param {number} side @param {number} step */
const near = (side, step) => Math.max(step, Math.round(side / step) * step);

/** @param {Draft} value @param {ModelCard} card @returns {{ width: number, height: number }} */
export function sizeOf(value, card) {
  const [width, height] = card.default_size.split("x").map(Number);
  const step = card.size_multiple;
  if (value.shape === "auto") return { width, height };
  if (value.shape === "free") return { width: near(value.width || width, step), height: near(value.height || height, step) };
  const [across, down] = value.shape.split(":").map(Number);
  const area = width * height;
  return { width: near(Math.sqrt((area * across) / down), step), height: near(Math.sqrt((area * down) / across), step) };
}

/** @param {number} seconds @param {ModelCard} card the nearest number of frames that the model makes; the longer on a tie */
export const framesOf = (seconds, card) =>
  Math.max(0, Math.floor((seconds * card.fps - 1) / card.frame_multiple + 0.5)) * card.frame_multiple + 1;

/** @param {Draft} value @param {ModelCard} card */
export const lengthOf = (value, card) =>
  value.seconds === null ? card.default_num_frames : framesOf(value.seconds, card);

/** @param {Draft} value @param {ModelCard} card tokens of one packed step: the server's own count, guidance twice */
export function tokensOf(value, card) {
  const { width, height } = sizeOf(value, card);
  const frames = Math.ceil(((lengthOf(value, card) - 1) / card.frame_multiple + 1) / card.patch[0]);
  const guidance = value.guidance === "" ? card.default_guidance_scale : Number(value.guidance);
  return frames * (width / card.size_multiple) * (height / card.size_multiple) * (guidance === 1 ? 1 : 2);
}

/** @param {Draft} value @param {ModelCard} card the longest film at this size, in frames; null when not known */
export function longest(value, card) {
  if (!card.max_tokens) return null;
  const { width, height } = sizeOf(value, card);
  const guidance = value.guidance === "" ? card.default_guidance_scale : Number(value.guidance);
  const room = Math.min(card.max_tokens, card.token_budget / (guidance === 1 ? 1 : 2));
  const perFrame = (width / card.size_multiple) * (height / card.size_multiple);
  const most = Math.min(Math.floor(room / perFrame), card.max_side_tokens || Infinity);
  return Math.max(1, (most * card.patch[0] - 1) * card.frame_multiple + 1);
}

/**
 * What it will take: work in token steps, and seconds until it is done where the server tells its speed.
 * @param {Draft} value @param {ModelCard} card
 */
export function estimate(value, card) {
  const steps = Number(value.steps) || card.default_num_inference_steps;
  const work = tokensOf(value, card) * steps * value.count;
  const queue = session.get().status?.queue;
  const rate = queue?.token_steps_per_s || 0;
  const own = rate > 0 ? work / rate : null;
  const wait = queue?.wait_s ?? null;
  return { work, wait, own, done: own === null || wait === null ? null : wait + own };
}

/** @param {Draft} value @param {ModelCard} card @param {boolean} extended @returns {Record<string, any>} the request */
export function wishOf(value, card, extended) {
  const { width, height } = sizeOf(value, card);
  const stills = extended ? value.stills : value.stills.filter((still) => still.place === "first");
  const [first] = stills;
  const alone = stills.length === 1 && first.place === "first";
  const common = { prompt: value.prompt.trim(), model: card.id || undefined, size: `${width}x${height}` };
  if (!extended) {
    const seconds = value.seconds === null ? undefined : String(value.seconds);
    return { ...common, seconds, input_reference: first ? blobOf(first.url) : undefined };
  }
  return {
    ...common,
    num_frames: lengthOf(value, card),
    negative_prompt: value.negative.trim() || undefined,
    seed: value.seed === "" ? undefined : Number(value.seed),
    num_inference_steps: value.steps === "" ? undefined : Number(value.steps),
    guidance_scale: value.guidance === "" ? undefined : Number(value.guidance),
    n: value.count > 1 ? value.count : undefined,
    priority: value.priority || undefined,
    loop: value.loop || undefined,
    enable_frame_interpolation: value.rate ? true : undefined,
    frame_interpolation_exp: value.rate || undefined,
    input_reference: alone ? { image_url: first.url } : undefined,
    frame_images: stills.length && !alone ? stills.map(placed) : undefined,
    characters: value.characters.length ? value.characters.map((id) => ({ id })) : undefined,
  };
}

/** @param {Still} still */
const placed = ({ place, url }) =>
  typeof place === "number" ? { index: place, image_url: url } : { frame_type: `${place}_frame`, image_url: url };

/** @param {string} url a data URL @returns {Blob} */
export function blobOf(url) {
  const [head, data] = url.split(",");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}

/**
 * Recall the settings of a video; its seed too, so that the same request gives the same film.
 * @param {Partial<Video>} video
 */
export function recall(video) {
  const known = (/** @type {any} */ value) => (value === undefined || value === null ? "" : String(value));
  const [width, height] = (video.size ?? "0x0").split("x").map(Number);
  draft.set({
    ...blank(),
    prompt: video.prompt ?? "",
    negative: video.negative_prompt ?? "",
    model: video.model ?? "",
    shape: width ? "free" : "auto",
    width,
    height,
    seconds: video.num_frames && video.fps ? video.num_frames / video.fps : Number(video.seconds) || null,
    seed: known(video.seed),
    steps: known(video.num_inference_steps),
    guidance: known(video.guidance_scale),
    priority: video.priority ?? 0,
    characters: video.characters ?? [],
  });
}
