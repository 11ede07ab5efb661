// Several seeds side by side, in lock step: one clock moves all of them.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { useMedia } from "../api/media.js";
import { frameAt, timeOf } from "../parts/film.js";
import { Empty, IconButton } from "../parts/ui.js";
import { find, library } from "../state/library.js";
import { to } from "../state/route.js";
import { useStore } from "../state/store.js";
import { number, say } from "../text/i18n.js";

const APART_S = 0.05; // a follower farther off than this is set right

/** @param {{ id: string }} props ids with commas between them */
export function Compare({ id }) {
  const ids = id.split(",");
  const byId = useStore(library, (value) => value.byId);
  const wall = useRef(null);
  const [playing, setPlaying] = useState(false);
  const [frame, setFrame] = useState(0);
  useEffect(() => {
    ids.forEach((one) => find(one));
  }, [id]);
  const videos = ids.map((one) => byId.get(one)).filter((video) => video?.status === "completed");
  const films = () => /** @type {HTMLVideoElement[]} */ ([.../** @type {any} */ (wall.current).querySelectorAll("video")]);
  useEffect(() => {
    if (!playing) return;
    let asked = requestAnimationFrame(function follow() {
      const [first, ...others] = films();
      if (first) {
        for (const film of others) if (Math.abs(film.currentTime - first.currentTime) > APART_S) film.currentTime = first.currentTime;
        setFrame(frameAt(first.currentTime, fps, frames));
      }
      asked = requestAnimationFrame(follow);
    });
    return () => cancelAnimationFrame(asked);
  }, [playing]);
  if (!videos.length) return html`<${Empty} icon="compare" title=${say("compare.nothing")} />`;
  const fps = videos[0]?.fps || 24;
  const frames = Math.min(...videos.map((video) => video?.num_frames || 1));
  const seek = (/** @type {number} */ wanted) => {
    const next = Math.max(0, Math.min(frames - 1, wanted));
    setPlaying(false);
    setFrame(next);
    for (const film of films()) {
      film.pause();
      film.currentTime = timeOf(next, fps);
    }
  };
  const toggle = () => {
    setPlaying(!playing);
    for (const film of films()) playing ? film.pause() : film.play();
  };
  return html`<div class="page compare">
    <header class="page-head"><h1>${say("compare.title")}</h1><p class="hint" dir="auto">${videos[0]?.prompt}</p></header>
    <div class="compare-wall" ref=${wall}>${videos.map((video) => html`<${Pane} key=${video?.id} video=${video} />`)}</div>
    <div class="film-controls">
      <${IconButton} icon=${playing ? "pause" : "play"} label=${say(playing ? "film.pause" : "film.play")} onClick=${toggle} />
      <${IconButton} icon="back" label=${say("film.back")} onClick=${() => seek(frame - 1)} />
      <${IconButton} icon="next" label=${say("film.next")} onClick=${() => seek(frame + 1)} />
      <input class="film-seek" type="range" min="0" max=${frames - 1} value=${frame} aria-label=${say("film.seek")} onInput=${(event) => seek(Number(event.currentTarget.value))} />
      <output class="film-frame">${number(frame + 1)} / ${number(frames)}</output>
    </div>
  </div>`;
}

function Pane({ video }) {
  const { url } = useMedia(video, "video");
  return html`<figure>
    <video src=${url} muted loop playsinline preload="auto" aria-label=${`${say("make.seed")} ${video.seed}`} style=${{ aspectRatio: `${video.width} / ${video.height}` }}></video>
    <figcaption><a href=${to("video", video.id)}>${say("make.seed")} ${video.seed}</a></figcaption>
  </figure>`;
}
