// A video as a picture that plays when pointed at, from its sprite sheet: no film is loaded for it.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { useMedia } from "../api/media.js";
import { say } from "../text/i18n.js";

const COLUMNS = 5;
const MOST = 25;
const QUIET = matchMedia("(prefers-reduced-motion: reduce)");

/** @param {import("../api/types.js").Video} video frames on its sheet, and their rows */
export function sheetOf(video) {
  const frames = Math.min(video.num_frames ?? MOST, MOST);
  return { frames, rows: Math.ceil(frames / COLUMNS) };
}

/** @param {number} frame @param {number} rows where it lies, as a background of the sheet */
export function spot(frame, rows) {
  const column = frame % COLUMNS;
  const row = Math.floor(frame / COLUMNS);
  return {
    backgroundSize: `${COLUMNS * 100}% ${rows * 100}%`,
    backgroundPosition: `${(column / (COLUMNS - 1)) * 100}% ${rows > 1 ? (row / (rows - 1)) * 100 : 0}%`,
  };
}

const FRAME = 16 / 9;
const NEAR = 1.3; // a picture of about the frame's aspect fills it, another lies in it whole

/** @param {import("../api/types.js").Video} video the place of its picture in a frame, of its own aspect */
function placeOf(video) {
  const [width, height] = video.size.split("x").map(Number);
  const off = width / height / FRAME;
  const fills = off < NEAR && off > 1 / NEAR;
  const wide = off > 1 !== fills;
  return { aspectRatio: `${width} / ${height}`, ...(wide ? { inlineSize: "100%" } : { blockSize: "100%" }) };
}

/** @param {{ video: import("../api/types.js").Video, playing: boolean }} props */
export function Thumb({ video, playing }) {
  const { url, failed } = useMedia(video, "thumbnail");
  const sheet = useMedia(video, "spritesheet", playing && !QUIET.matches);
  const { frames, rows } = sheetOf(video);
  const [frame, setFrame] = useState(0);
  useEffect(() => {
    if (!sheet.url || !playing) return setFrame(0);
    const lasts = Math.max(1, Number(video.seconds) || 1) * 1000;
    const timer = setInterval(() => setFrame((now) => (now + 1) % frames), Math.max(40, lasts / frames));
    return () => clearInterval(timer);
  }, [sheet.url, playing]);
  return html`<span class="thumb">
    <span class="thumb-place" style=${placeOf(video)}>
      ${url && html`<img src=${url} alt="" decoding="async" draggable=${false} />`}
      ${playing && sheet.url && html`<span class="thumb-sheet" style=${{ backgroundImage: `url("${sheet.url}")`, ...spot(frame, rows) }}></span>`}
    </span>
    ${failed && html`<span class="thumb-note">${say("thumb.missing")}</span>`}
  </span>`;
}
