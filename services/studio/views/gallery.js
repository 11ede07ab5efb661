// Everything that was made: endless, searched in its prompts, filtered, with favourites.
import { html, useEffect, useMemo, useState } from "../vendor/preact-htm.js";
import { Grid } from "../parts/grid.js";
import { Icon } from "../parts/icons.js";
import { Button, Choice, Empty } from "../parts/ui.js";
import { library, loadMore, shown } from "../state/library.js";
import { prefs } from "../state/prefs.js";
import { to } from "../state/route.js";
import { createStore, useStore } from "../state/store.js";
import { number, say } from "../text/i18n.js";

/** Stays while the page is open, so that coming back from a video finds the gallery as it was left. */
const filters = createStore({ words: "", which: "all", shape: "any" });
const SHAPES = {
  any: () => true,
  wide: (/** @type {number} */ aspect) => aspect > 1.05,
  tall: (/** @type {number} */ aspect) => aspect < 0.95,
  square: (/** @type {number} */ aspect) => aspect >= 0.95 && aspect <= 1.05,
};

/** @param {import("../api/types.js").Video} video */
function aspectOf(video) {
  const [width, height] = video.size.split("x").map(Number);
  return width / height;
}

/** @param {import("../api/types.js").Video[]} videos @param {{ words: string, which: string, shape: string }} wanted @param {string[]} favourites */
export function filtered(videos, wanted, favourites) {
  const words = wanted.words.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const starred = new Set(favourites);
  const kind = {
    all: () => true,
    favourites: (/** @type {any} */ video) => starred.has(video.id),
    made: (/** @type {any} */ video) => !video.edit && !video.remixed_from_video_id,
    edited: (/** @type {any} */ video) => Boolean(video.edit || video.remixed_from_video_id),
  }[wanted.which];
  return videos.filter((video) => {
    if (video.status === "failed" || !kind?.(video) || !SHAPES[wanted.shape](aspectOf(video))) return false;
    const text = `${video.prompt ?? ""} ${video.id} ${video.seed ?? ""}`.toLocaleLowerCase();
    return words.every((word) => text.includes(word));
  });
}

export function Gallery() {
  const value = useStore(library);
  const wanted = useStore(filters);
  const favourites = useStore(prefs, (state) => state.favourites);
  const videos = useMemo(() => filtered(shown(value), wanted, favourites), [value.ids, value.byId, value.hidden, wanted, favourites]);
  const narrowed = wanted.words !== "" || wanted.which !== "all" || wanted.shape !== "any";
  const [asked, setAsked] = useState(wanted.words);
  useEffect(() => {
    const timer = setTimeout(() => filters.set({ words: asked }), 150);
    return () => clearTimeout(timer);
  }, [asked]);
  useEffect(() => {
    if (narrowed && value.hasMore && !value.loading) loadMore(); // a search looks through everything
  }, [narrowed, value.hasMore, value.loading, value.online]);
  return html`<div class="page">
    <header class="page-head">
      <h1>${say("nav.gallery")}</h1>
      <p class="hint" role="status">${value.loaded && say(value.hasMore ? "gallery.count_more" : "gallery.count", { count: number(videos.length) })}</p>
    </header>
    <div class="toolbar" role="search">
      <div class="search"><${Icon} name="search" />
        <input type="search" aria-label=${say("gallery.search")} placeholder=${say("gallery.search")} value=${asked}
          onInput=${(event) => setAsked(event.currentTarget.value)} /></div>
      <${Choice} name="which" label=${say("gallery.which")} value=${wanted.which} onChange=${(which) => filters.set({ which })}
        options=${["all", "favourites", "made", "edited"].map((name) => ({ value: name, label: say(`gallery.${name}`) }))} />
      <${Choice} name="shape" label=${say("gallery.shape")} value=${wanted.shape} onChange=${(shape) => filters.set({ shape })}
        options=${Object.keys(SHAPES).map((name) => ({ value: name, label: say(`shape.${name}`) }))} />
    </div>
    ${value.loaded && videos.length === 0
      ? html`<${Empty} icon="gallery" title=${say(narrowed ? "gallery.nothing" : "gallery.empty")}>
          ${!narrowed && html`<${Button} kind="primary" icon="make" href=${to("make")}>${say("nav.make")}<//>`}
        <//>`
      : html`<${Grid} videos=${videos} label=${say("nav.gallery")} onEnd=${loadMore} />`}
  </div>`;
}
