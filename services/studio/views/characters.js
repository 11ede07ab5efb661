// Characters: a name and a clip that shows what it stands for. Prompts call them by @name.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { ApiError } from "../api/client.js";
import { useMedia } from "../api/media.js";
import { Film } from "../parts/film.js";
import { Button, Empty, Field, IconButton } from "../parts/ui.js";
import { addCharacter, cast, loadCast, removeCharacter } from "../state/cast.js";
import { draft } from "../state/draft.js";
import { checkFilm } from "../state/files.js";
import { find, library } from "../state/library.js";
import { notify } from "../state/notices.js";
import { go, to } from "../state/route.js";
import { useStore } from "../state/store.js";
import { day, number, say } from "../text/i18n.js";

/** @param {{ id: string }} props a video of which one is to be made, or none */
export function Characters({ id }) {
  const { list, loaded } = useStore(cast);
  useEffect(() => {
    loadCast();
  }, []);
  const use = (/** @type {{ id: string, name: string }} */ one) => {
    const { prompt } = draft.get();
    draft.set({ prompt: prompt.includes(one.name) ? prompt : `${one.name} ${prompt}`, characters: [one.id] });
    go("make");
  };
  return html`<div class="page narrow">
    <header class="page-head"><h1>${say("nav.characters")}</h1><p class="hint">${say("cast.lead")}</p></header>
    <${NewCharacter} id=${id} />
    ${loaded && !list.length && html`<${Empty} icon="cast" title=${say("cast.empty")} />`}
    <ul class="cast">${list.map((one) => html`<li key=${one.id}>
      <span class="cast-mark" aria-hidden="true">${[...one.name][0]}</span>
      <span class="cast-name"><strong dir="auto">@${one.name}</strong><span class="hint">${day(one.created_at)}</span></span>
      <${Button} kind="small" icon="make" onClick=${() => use(one)}>${say("cast.use")}<//>
      <${IconButton} icon="trash" label=${say("cast.delete", { name: one.name })} onClick=${() => removeCharacter(one.id).catch((error) => notify(error.message, { kind: "error" }))} />
    </li>`)}</ul>
  </div>`;
}

function NewCharacter({ id }) {
  const [name, setName] = useState("");
  const [file, setFile] = useState(/** @type {File | null} */ (null));
  const [span, setSpan] = useState({ from: "", until: "" });
  const [error, setError] = useState(/** @type {ApiError | null} */ (null));
  const [busy, setBusy] = useState(false);
  const wrong = (/** @type {string[]} */ ...params) => (error?.param && params.includes(error.param) ? error.message : undefined);
  const choose = (/** @type {any} */ event) => {
    try {
      const [chosen] = event.currentTarget.files;
      setFile(chosen ? checkFilm(chosen) : null);
      setError(null);
    } catch (refused) {
      setFile(null);
      setError(new ApiError(400, { param: "video", message: /** @type {Error} */ (refused).message }));
    }
  };
  const make = async (/** @type {any} */ event) => {
    event.preventDefault();
    const shown = id ? { id } : file;
    if (!shown || !name.trim()) return setError(new ApiError(400, { param: shown ? "name" : "video", message: say(shown ? "cast.no_name" : "cast.no_clip") }));
    setBusy(true);
    try {
      const part = { start_s: Number(span.from) || undefined, end_s: Number(span.until) || undefined };
      await addCharacter({ name: name.trim(), video: shown, ...part });
      setName("");
      setFile(null);
      setSpan({ from: "", until: "" });
      event.target.reset();
      if (id) go("characters");
    } catch (refused) {
      if (!(refused instanceof ApiError)) throw refused;
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  const time = (/** @type {"from" | "until"} */ end, /** @type {string} */ param) => html`<${Field} id=${`cast-${end}`} label=${say(`cast.${end}`)} error=${wrong(param)}>
    ${(attributes) => html`<input ...${attributes} type="number" min="0" step="any" value=${span[end]} onInput=${(event) => setSpan({ ...span, [end]: event.currentTarget.value })} />`}
  <//>`;
  return html`<form class="cast-new" novalidate onSubmit=${make}>
    ${id && html`<${Shown} id=${id} wrong=${wrong("video")} onSpan=${(/** @type {Partial<typeof span>} */ change) => setSpan({ ...span, ...change })} />`}
    <${Field} id="cast-name" label=${say("cast.name")} error=${wrong("name")}>
      ${(attributes) => html`<input ...${attributes} type="text" maxlength="80" dir="auto" value=${name} onInput=${(event) => setName(event.currentTarget.value)} />`}
    <//>
    ${id
      ? ""
      : html`<${Field} id="cast-clip" label=${say("cast.clip")} hint=${say("cast.clip_hint")} error=${wrong("video")}>
          ${(attributes) => html`<input ...${attributes} type="file" accept="video/*" onChange=${choose} />`}
        <//>`}
    <div class="pair">${time("from", "start_s")}${time("until", "end_s")}</div>
    <${Button} type="submit" kind="primary" icon="plus" busy=${busy}>${say("cast.make")}<//>
    ${error && !wrong("name", "video", "start_s", "end_s") && html`<p class="error" role="alert">${error.message}</p>`}
  </form>`;
}

/** The video that it is made of: the frame on the screen may begin or end the span. */
function Shown({ id, wrong, onSpan }) {
  const video = useStore(library, (value) => value.byId.get(id));
  const { url } = useMedia(video, "video");
  const [frame, setFrame] = useState(0);
  useEffect(() => {
    find(id);
  }, [id]);
  if (!video) return null;
  const at = (/** @type {number} */ shown) => (shown / video.fps).toFixed(2);
  return html`<div class="cast-film">
    <${Film} url=${url} video=${video} onFrame=${setFrame} />
    <div class="buttons">
      <${Button} kind="small" onClick=${() => onSpan({ from: at(frame) })}>${say("cast.from")}: ${number(Number(at(frame)))}<//>
      <${Button} kind="small" onClick=${() => onSpan({ until: at(frame + 1) })}>${say("cast.until")}: ${number(Number(at(frame + 1)))}<//>
      <${Button} kind="small quiet" href=${to("characters")}>${say("cast.another")}<//>
    </div>
    ${wrong && html`<p class="error" role="alert">${wrong}</p>`}
  </div>`;
}
