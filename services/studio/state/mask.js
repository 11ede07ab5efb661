// What is to be painted anew: strokes and boxes in the film's pixels, each for a span of its frames.

/** @typedef {{ frame: number, x: number, y: number, width: number, height: number }} Key */
/** @typedef {{ kind: "box", from: number, to: number, keys: Key[] }} Box keys by frame; between two the box moves evenly */
/** @typedef {{ kind: "stroke", erase: boolean, size: number, from: number, to: number, points: [number, number][] }} Stroke */
/** @typedef {Box | Stroke} Shape */

/** @param {Box} box @param {number} frame @returns {Key} */
export function boxAt(box, frame) {
  const after = box.keys.findIndex((key) => key.frame >= frame);
  if (after === -1) return box.keys[box.keys.length - 1];
  const b = box.keys[after];
  if (after === 0) return b;
  const a = box.keys[after - 1];
  const share = (frame - a.frame) / (b.frame - a.frame);
  const mix = (/** @type {"x" | "y" | "width" | "height"} */ name) => a[name] + (b[name] - a[name]) * share;
  return { frame, x: mix("x"), y: mix("y"), width: mix("width"), height: mix("height") };
}

/** @param {Box} box @param {Key} key @returns {Box} with this key, instead of the one that its frame had */
export function withKey(box, key) {
  const keys = [...box.keys.filter((other) => other.frame !== key.frame), key];
  return { ...box, keys: keys.sort((a, b) => a.frame - b.frame) };
}

/** @param {Shape} shape @param {number} frame */
export const isActive = (shape, frame) => frame >= shape.from && frame <= shape.to;

/**
 * Paint what is to be made anew at a frame, opaque on nothing.
 * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context @param {Shape[]} shapes
 * @param {number} frame @param {string} colour
 */
export function paint(context, shapes, frame, colour) {
  context.save();
  context.fillStyle = context.strokeStyle = colour;
  context.lineCap = context.lineJoin = "round";
  for (const shape of shapes) {
    if (!isActive(shape, frame)) continue;
    if (shape.kind === "box") {
      const { x, y, width, height } = boxAt(shape, frame);
      context.fillRect(x, y, width, height);
      continue;
    }
    context.globalCompositeOperation = shape.erase ? "destination-out" : "source-over";
    context.lineWidth = shape.size;
    context.beginPath();
    const [[x, y], ...rest] = shape.points;
    context.moveTo(x, y);
    for (const point of rest.length ? rest : [[x + 0.01, y]]) context.lineTo(point[0], point[1]);
    context.stroke();
    context.globalCompositeOperation = "source-over";
  }
  context.restore();
}

/** @param {Shape[]} shapes @param {number} frames whether the mask is another at some frame */
const changes = (shapes, frames) =>
  shapes.some((shape) => shape.from > 0 || shape.to < frames - 1 || (shape.kind === "box" && shape.keys.length > 1));

/** @param {Shape[]} shapes @returns {shapes is Box[]} */
const onlyStillBoxes = (shapes) => shapes.every((shape) => shape.kind === "box" && shape.keys.length === 1);

/**
 * The mask as the API takes it: boxes with times, a picture, or a video where it changes.
 * @param {Shape[]} shapes @param {{ width: number, height: number, num_frames: number, fps: number }} film
 * @returns {Promise<Record<string, any> | null>} null when nothing is painted
 */
export async function maskOf(shapes, film) {
  if (!shapes.some((shape) => shape.kind === "box" || !shape.erase)) return null;
  if (onlyStillBoxes(shapes)) return { boxes: shapes.map((box) => boxInSeconds(box, film.fps, film.num_frames)) };
  const canvas = new OffscreenCanvas(film.width, film.height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  if (!changes(shapes, film.num_frames)) {
    paint(context, shapes, 0, "#fff");
    context.globalCompositeOperation = "destination-over";
    black(context, film);
    return { mask: new File([await canvas.convertToBlob({ type: "image/png" })], "mask.png", { type: "image/png" }) };
  }
  return { mask_video: maskFilm(context, shapes, film) };
}

/** @param {OffscreenCanvasRenderingContext2D} context @param {{ width: number, height: number }} film */
function black(context, { width, height }) {
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
}

/** @param {Box} box @param {number} fps @param {number} frames */
function boxInSeconds(box, fps, frames) {
  const { x, y, width, height } = box.keys[0];
  const end = box.to >= frames - 1 ? {} : { end_s: (box.to + 1) / fps };
  return { x, y, width, height, start_s: box.from / fps, ...end };
}

/**
 * A film of grey pictures without compression (YUV4MPEG2), which FFmpeg reads and a browser can write exactly.
 * @param {OffscreenCanvasRenderingContext2D} context @param {Shape[]} shapes
 * @param {{ width: number, height: number, num_frames: number, fps: number }} film
 */
function maskFilm(context, shapes, film) {
  const { width, height, num_frames: frames, fps } = film;
  /** @type {BlobPart[]} */
  const parts = [`YUV4MPEG2 W${width} H${height} F${Math.round(fps * 1000)}:1000 Ip A1:1 C420jpeg\n`];
  const colourless = new Uint8Array(2 * Math.ceil(width / 2) * Math.ceil(height / 2)).fill(128);
  for (let frame = 0; frame < frames; frame++) {
    context.clearRect(0, 0, width, height);
    paint(context, shapes, frame, "#fff");
    const { data } = context.getImageData(0, 0, width, height);
    const grey = new Uint8Array(width * height);
    for (let pixel = 0; pixel < grey.length; pixel++) grey[pixel] = data[4 * pixel + 3] > 127 ? 255 : 0;
    parts.push("FRAME\n", grey, colourless);
  }
  return new File(parts, "mask.y4m", { type: "video/x-yuv4mpeg" });
}
