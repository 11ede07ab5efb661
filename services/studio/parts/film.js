// A film with the controls that makers need: frame by frame, at other speeds, in a loop, from the keyboard.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { useMedia } from "../api/media.js";
import { number, say } from "../text/i18n.js";
import { IconButton } from "./ui.js";

const SPEEDS = [0.25, 0.5, 1, 2];

/** @param {number} frame @param {number} fps the middle of a frame, where no rounding shows its neighbour */
export const timeOf = (frame, fps) => (frame + 0.5) / fps;

/** @param {number} time @param {number} fps @param {number} frames */
export const frameAt = (time, fps, frames) => Math.max(0, Math.min(frames - 1, Math.floor(time * fps + 1e-3)));

/** @param {{ url: string | null, video: import("../api/types.js").Video, onFrame?: (frame: number) => void }} props */
export function Film({ url, video, onFrame }) {
  const still = useMedia(video, "thumbnail");
  const ref = useRef(null);
  const element = () => /** @type {HTMLVideoElement | null} */ (/** @type {any} */ (ref.current));
  const fps = video.fps || 24;
  const frames = video.num_frames || Math.max(1, Math.round((Number(video.seconds) || 1) * fps));
  const [frame, setFrame] = useState(0);
  const at = useRef(0); // the frame that was last shown or asked for: keys may come faster than films seek
  const [playing, setPlaying] = useState(false);
  const [loop, setLoop] = useState(true);
  const [speed, setSpeed] = useState(1);
  const [muted, setMuted] = useState(true);
  const show = (/** @type {number} */ now) => {
    at.current = now;
    setFrame(now);
    onFrame?.(now);
  };
  useFrames(ref, url, fps, frames, show);
  const seek = (/** @type {number} */ to) => {
    const film = element();
    if (!film) return;
    const aim = Math.max(0, Math.min(frames - 1, to));
    film.pause();
    film.currentTime = timeOf(aim, fps);
    show(aim);
  };
  const step = (/** @type {number} */ by) => seek(at.current + by);
  const toggle = () => (element()?.paused ? element()?.play() : element()?.pause());
  const faster = (/** @type {number} */ by) => {
    const next = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, SPEEDS.indexOf(speed) + by))];
    setSpeed(next);
    const film = element();
    if (film) film.playbackRate = next;
  };
  const keys = {
    " ": toggle, k: toggle, ",": () => step(-1), ".": () => step(1), ArrowLeft: () => step(-1), ArrowRight: () => step(1),
    Home: () => seek(0), End: () => seek(frames - 1), l: () => setLoop(!loop),
    "[": () => faster(-1), "]": () => faster(1), f: () => element()?.requestFullscreen(), m: () => setMuted(!muted),
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    const own = /** @type {HTMLElement} */ (event.target).closest("button, input, a");
    if ((own && [" ", "Home", "End", "ArrowLeft", "ArrowRight"].includes(event.key)) || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[/** @type {keyof typeof keys} */ (event.key)];
    if (!act) return;
    event.preventDefault();
    act();
  };
  return html`<div class="film" onKeyDown=${onKey} role="group" aria-label=${say("video.film")} tabindex="-1">
    <video ref=${ref} src=${url} poster=${still.url} loop=${loop} muted=${muted} playsinline preload="auto" autoplay=${!matchMedia("(prefers-reduced-motion: reduce)").matches}
      style=${{ aspectRatio: `${video.width || 16} / ${video.height || 9}` }} onClick=${toggle}
      onPlay=${() => setPlaying(true)} onPause=${() => setPlaying(false)} aria-label=${video.prompt || say("video.untitled")}></video>
    <div class="film-controls">
      <${IconButton} icon=${playing ? "pause" : "play"} label=${say(playing ? "film.pause" : "film.play")} onClick=${toggle} />
      <${IconButton} icon="back" label=${say("film.back")} onClick=${() => step(-1)} />
      <${IconButton} icon="next" label=${say("film.next")} onClick=${() => step(1)} />
      <input class="film-seek" type="range" min="0" max=${frames - 1} step="1" value=${frame} aria-label=${say("film.seek")}
        aria-valuetext=${say("film.frame", { frame: frame + 1, frames })} onInput=${(event) => seek(Number(event.currentTarget.value))} />
      <output class="film-frame">${number(frame + 1)} / ${number(frames)}</output>
      <button type="button" class="film-speed" aria-label=${say("film.speed", { speed })} title=${say("film.speed", { speed })}
        onClick=${() => faster(speed === 2 ? -3 : 1)}>${number(speed)}×</button>
      <${IconButton} icon="loop" label=${say("film.loop")} pressed=${loop} onClick=${() => setLoop(!loop)} />
      <${IconButton} icon=${muted ? "mute" : "sound"} label=${say("film.mute")} pressed=${muted} onClick=${() => setMuted(!muted)} />
      <${IconButton} icon="full" label=${say("film.full")} onClick=${() => element()?.requestFullscreen()} />
    </div>
  </div>`;
}

/** Tell which frame is on the screen, as the browser presents it; while it seeks, what it shows is not what was asked for. */
export function useFrames(ref, url, fps, frames, seen) {
  const told = useRef(seen);
  told.current = seen;
  useEffect(() => {
    const film = /** @type {HTMLVideoElement | null} */ (ref.current);
    if (!film || !url) return;
    let handle = 0;
    const each = (/** @type {number} */ _, /** @type {{ mediaTime: number }} */ data) => {
      if (!film.seeking) told.current(frameAt(data.mediaTime, fps, frames));
      handle = film.requestVideoFrameCallback(each);
    };
    if (film.requestVideoFrameCallback) handle = film.requestVideoFrameCallback(each);
    const look = () => told.current(frameAt(film.currentTime, fps, frames));
    film.addEventListener("seeked", look);
    if (!film.requestVideoFrameCallback) film.addEventListener("timeupdate", look);
    return () => {
      film.cancelVideoFrameCallback?.(handle);
      film.removeEventListener("seeked", look);
      film.removeEventListener("timeupdate", look);
    };
  }, [url, fps, frames]);
}
