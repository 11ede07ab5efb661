// Characters: a name and a clip that shows what it stands for. Prompts call them by @name.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { ApiError } from "../api/client.js";
import { Button, Empty, Field, IconButton } from "../parts/ui.js";
import { addCharacter, cast, loadCast, removeCharacter } from "../state/cast.js";
import { draft } from "../state/draft.js";
import { checkFilm } from "../state/files.js";
import { notify } from "../state/notices.js";
import { go } from "../state/route.js";
import { useStore } from "../state/store.js";
import { day, say } from "../text/i18n.js";

export function Characters() {
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
    <${NewCharacter} />
    ${loaded && !list.length && html`<${Empty} icon="cast" title=${say("cast.empty")} />`}
    <ul class="cast">${list.map((one) => html`<li key=${one.id}>
      <span class="cast-mark" aria-hidden="true">${[...one.name][0]}</span>
      <span class="cast-name"><strong dir="auto">@${one.name}</strong><span class="hint">${day(one.created_at)}</span></span>
      <${Button} kind="small" icon="make" onClick=${() => use(one)}>${say("cast.use")}<//>
      <${IconButton} icon="trash" label=${say("cast.delete", { name: one.name })} onClick=${() => removeCharacter(one.id).catch((error) => notify(error.message, { kind: "error" }))} />
    </li>`)}</ul>
  </div>`;
}

function NewCharacter() {
  const [name, setName] = useState("");
  const [file, setFile] = useState(/** @type {File | null} */ (null));
  const [error, setError] = useState(/** @type {ApiError | null} */ (null));
  const [busy, setBusy] = useState(false);
  const wrong = (/** @type {string} */ param) => (error?.param === param ? error.message : undefined);
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
  const make = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!file || !name.trim()) return setError(new ApiError(400, { param: file ? "name" : "video", message: say(file ? "cast.no_name" : "cast.no_clip") }));
    setBusy(true);
    try {
      await addCharacter(name.trim(), file);
      setName("");
      setFile(null);
      /** @type {any} */ (event.target).reset();
    } catch (refused) {
      if (!(refused instanceof ApiError)) throw refused;
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  return html`<form class="cast-new" novalidate onSubmit=${make}>
    <${Field} id="cast-name" label=${say("cast.name")} error=${wrong("name")}>
      ${(attributes) => html`<input ...${attributes} type="text" maxlength="80" dir="auto" value=${name} onInput=${(event) => setName(event.currentTarget.value)} />`}
    <//>
    <${Field} id="cast-clip" label=${say("cast.clip")} hint=${say("cast.clip_hint")} error=${wrong("video")}>
      ${(attributes) => html`<input ...${attributes} type="file" accept="video/*" onChange=${choose} />`}
    <//>
    <${Button} type="submit" kind="primary" icon="plus" busy=${busy}>${say("cast.make")}<//>
    ${error && !wrong("name") && !wrong("video") && html`<p class="error" role="alert">${error.message}</p>`}
  </form>`;
}
