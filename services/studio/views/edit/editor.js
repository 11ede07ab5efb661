// A timeline to edit by hand: the film in the middle, tools over it, time under it, one operation at a time.
import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { ApiError } from "../../api/client.js";
import { useMedia } from "../../api/media.js";
import { Icon } from "../../parts/icons.js";
import { Button, Empty, Field } from "../../parts/ui.js";
import { begun, edit, send, toolsOf } from "../../state/edit.js";
import { find, library, lookSoon, remember } from "../../state/library.js";
import { announce } from "../../state/notices.js";
import { go, to } from "../../state/route.js";
import { session } from "../../state/session.js";
import { useStore } from "../../state/store.js";
import { say, sayIf } from "../../text/i18n.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { ToolOptions } from "./tools.js";

const ICONS = { extend: "expand", loop: "loop", blend: "compare", repaint: "brush", outpaint: "box", restyle: "style", rate: "rate", cut: "cut" };

/** @param {{ id: string }} props */
export function Editor({ id }) {
  const video = useStore(library, (value) => value.byId.get(id));
  const { cards } = useStore(session);
  const card = cards.find((one) => one.id === video?.model) ?? cards[0];
  const [begunFor, setBegunFor] = useState("");
  useEffect(() => {
    find(id);
  }, [id]);
  const tools = card ? toolsOf(card) : [];
  useEffect(() => {
    if (!video || video.status !== "completed" || !tools.length) return;
    edit.set(() => begun(video, tools[0]));
    setBegunFor(id);
  }, [id, video?.status, tools.length]);
  if (!video || !card) return null;
  if (!tools.length) return html`<${Empty} icon="cut" title=${say("edit.none")} />`;
  if (video.status !== "completed") return html`<${Empty} icon="queue" title=${say("edit.unfinished")}><${Button} href=${to("video", id)}>${say("tree.open")}<//><//>`;
  if (begunFor !== id) return null;
  return html`<${Table} video=${video} card=${card} tools=${tools} />`;
}

function Table({ video, card, tools }) {
  const tool = useStore(edit, (value) => value.tool);
  const { url } = useMedia(video, "video");
  return html`<div class="editor">
    <h1 class="heard">${say("video.edit")}: ${video.prompt}</h1>
    <div class="editor-tools" role="toolbar" aria-label=${say("edit.tools")}>
      ${tools.map((name) => html`<button key=${name} type="button" class="tool" aria-pressed=${name === tool} onClick=${() => edit.set({ tool: name })}>
        <${Icon} name=${ICONS[name]} /><span>${say(`tool.${name}`)}</span>
      </button>`)}
    </div>
    <div class="editor-stage"><${Stage} video=${video} card=${card} url=${url} /></div>
    <${Strip} video=${video} card=${card} />
    <section class="editor-side" aria-label=${say(`tool.${tool}`)}><${Order} video=${video} card=${card} /></section>
  </div>`;
}

/** What shall be seen, the tool's options, and the button that sends it. */
function Order({ video, card }) {
  const value = useStore(edit);
  const [error, setError] = useState(/** @type {ApiError | null} */ (null));
  const [busy, setBusy] = useState(false);
  useEffect(() => setError(null), [value.tool]);
  const order = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const made = await send(edit.get(), video);
      if (!made) throw new ApiError(400, { message: say(`edit.missing_${value.tool}`) });
      remember([made]);
      lookSoon();
      announce(say("make.sent", { count: 1 }));
      go("video", made.id);
    } catch (refused) {
      if (!(refused instanceof ApiError)) throw refused;
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  const wrong = (/** @type {string} */ name) => (error?.param === name ? error.message : undefined);
  return html`<form class="stack" novalidate onSubmit=${order}>
    <h2>${say(`tool.${value.tool}`)}</h2>
    <p class="hint">${say(`tool.${value.tool}.hint`)}</p>
    <${Field} id="edit-prompt" label=${say(`tool.${value.tool}.prompt`)} error=${wrong("prompt")}>
      ${(attributes) => html`<textarea ...${attributes} rows="3" dir="auto" value=${value.prompt} onInput=${(event) => edit.set({ prompt: event.currentTarget.value })}></textarea>`}
    <//>
    <${ToolOptions} value=${value} video=${video} card=${card} />
    ${value.tool !== "cut" && html`<${Field} id="edit-seed" label=${say("make.seed")} error=${wrong("seed")}>
      ${(attributes) => html`<input ...${attributes} type="number" min="0" value=${value.seed} placeholder=${say("make.random")} onInput=${(event) => edit.set({ seed: event.currentTarget.value })} />`}
    <//>`}
    ${error && !wrong("prompt") && !wrong("seed") && html`<p class="error" role="alert">${error.unreachable ? say("offline") : error.message}</p>`}
    <${Button} type="submit" kind="primary" icon="make" busy=${busy}>${sayIf(`tool.${value.tool}.send`) ?? say(`tool.${value.tool}`)}<//>
  </form>`;
}
