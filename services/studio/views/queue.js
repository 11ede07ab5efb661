// Watch it come: what is being made, in the order in which it was asked for, and what failed lately.
import { html } from "../vendor/preact-htm.js";
import { FailedRow, QueueRow } from "../parts/card.js";
import { Button, Empty } from "../parts/ui.js";
import { cancel, isOpen, library, shown } from "../state/library.js";
import { to } from "../state/route.js";
import { session } from "../state/session.js";
import { useStore } from "../state/store.js";
import { number, say, seconds } from "../text/i18n.js";

const FAILED_SHOWN = 20;

/** Open videos, what a sampler works on first. @param {import("../state/library.js").Library} value */
export function openOnes(value) {
  const open = shown(value).filter(isOpen);
  return open.sort((a, b) => Number(a.status === "queued") - Number(b.status === "queued") || a.created_at - b.created_at);
}

export function QueueList({ videos }) {
  const working = videos.filter((video) => video.status !== "queued").length;
  return html`<ul class="queue">
    ${videos.map((video, index) => html`<${QueueRow} key=${video.id} video=${video} position=${index - working + 1} />`)}
  </ul>`;
}

export function Queue() {
  const value = useStore(library);
  const queue = useStore(session, (state) => state.status?.queue);
  const open = openOnes(value);
  const failed = shown(value).filter((video) => video.status === "failed").slice(0, FAILED_SHOWN);
  return html`<div class="page">
    <header class="page-head">
      <h1>${say("nav.queue")}</h1>
      ${queue?.wait_s != null && html`<p class="hint">${say("queue.server", { waiting: number(queue.waiting), time: seconds(queue.wait_s) })}</p>`}
      ${open.length > 1 && html`<${Button} icon="close" onClick=${() => open.forEach(cancel)}>${say("queue.cancel_all")}<//>`}
    </header>
    ${open.length > 0 && html`<${QueueList} videos=${open} />`}
    ${value.loaded && open.length === 0 && html`<${Empty} icon="queue" title=${say("queue.empty")}><${Button} kind="primary" icon="make" href=${to("make")}>${say("nav.make")}<//><//>`}
    ${failed.length > 0 && html`<section aria-labelledby="failed-title">
      <h2 id="failed-title">${say("queue.failed_title")}</h2>
      <ul class="queue">${failed.map((video) => html`<${FailedRow} key=${video.id} video=${video} />`)}</ul>
    </section>`}
  </div>`;
}
