// Make: say what shall be seen, see what it takes, send it. Below it what is coming and what came last.
import { html, useEffect, useMemo, useState } from "../vendor/preact-htm.js";
import { ApiError } from "../api/client.js";
import { Grid } from "../parts/grid.js";
import { Prompt } from "../parts/prompt.js";
import { Button } from "../parts/ui.js";
import { cardOf, draft, estimate, recall, sizeOf, wishOf } from "../state/draft.js";
import { FileError, idOf, pictureOf } from "../state/files.js";
import { find, library, loadMore, lookSoon, remember, shown } from "../state/library.js";
import { announce, notify } from "../state/notices.js";
import { to } from "../state/route.js";
import { client, session } from "../state/session.js";
import { useStore } from "../state/store.js";
import { number, say, seconds } from "../text/i18n.js";
import { MoreOptions, ShapeOptions } from "./options.js";
import { openOnes, QueueList } from "./queue.js";
import { addStill, Stills } from "./stills.js";

const LATEST = 12;

export function Make() {
  const value = useStore(library);
  const open = openOnes(value);
  const latest = useMemo(() => shown(value).filter((video) => video.status === "completed").slice(0, LATEST), [value.byId, value.hidden]);
  useEffect(() => {
    if (!library.get().loaded) loadMore();
  }, []);
  return html`<div class="page make">
    <h1 class="make-title">${say("make.title")}</h1>
    <${Composer} />
    ${open.length > 0 && html`<section aria-labelledby="coming"><h2 id="coming">${say("make.coming")}</h2><${QueueList} videos=${open} /></section>`}
    ${latest.length > 0 && html`<section aria-labelledby="latest">
      <div class="section-head"><h2 id="latest">${say("make.latest")}</h2><a href=${to("gallery")}>${say("make.all")}</a></div>
      <${Grid} videos=${latest} label=${say("make.latest")} />
    </section>`}
  </div>`;
}

function Composer() {
  const value = useStore(draft);
  const { cards, extended } = useStore(session);
  const card = cardOf(value, cards);
  const [error, setError] = useState(/** @type {ApiError | null} */ (null));
  const [busy, setBusy] = useState(false);
  const [over, setOver] = useState(false);
  const wait = useCountdown(error);
  const send = async (/** @type {Event} */ event) => {
    event?.preventDefault();
    if (busy || wait > 0 || !card) return;
    if (!draft.get().prompt.trim()) return setError(new ApiError(400, { param: "prompt", message: say("make.no_prompt") }));
    setBusy(true);
    setError(null);
    try {
      await submit(wishOf(draft.get(), card, extended));
    } catch (refused) {
      if (!(refused instanceof ApiError)) throw refused;
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(event);
  };
  const take = (/** @type {DataTransfer | null} */ data, /** @type {Event} */ event) => {
    const files = [...(data?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    setOver(false);
    files.forEach(takeFile);
  };
  if (!card) return html`<p class="composer hint" role="status">${say("make.no_model")}</p>`;
  const wrong = (/** @type {string[]} */ ...names) => (error?.param && names.includes(error.param.split(".")[0]) ? message(error) : undefined);
  return html`<form novalidate class=${`composer${over ? " over" : ""}`} onSubmit=${send} onKeyDown=${onKey} aria-label=${say("make.title")}
    onPaste=${(event) => take(event.clipboardData, event)} onDrop=${(event) => take(event.dataTransfer, event)}
    onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)}>
    <${Prompt} value=${value} card=${card} error=${wrong("prompt", "characters")} />
    <${Stills} card=${card} extended=${extended} error=${wrong("input_reference", "frame_images", "image_url")} />
    <${ShapeOptions} value=${value} card=${card} wrong=${wrong} extended=${extended} />
    ${extended && html`<${MoreOptions} value=${value} card=${card} cards=${cards} wrong=${wrong} />`}
    <footer class="composer-foot">
      <${Outlook} value=${value} card=${card} extended=${extended} />
      <${Button} type="submit" kind="primary" icon="make" busy=${busy} disabled=${wait > 0}>${say("make.send")}<//>
    </footer>
    ${error && html`<p class="error composer-error" role="alert">${wait > 0 ? say("make.full", { time: seconds(wait) }) : message(error)}</p>`}
  </form>`;
}

/** @param {Record<string, any>} wish */
async function submit(wish) {
  const first = await client().create(wish);
  const made = [first, ...(first.siblings ?? []).map((id, index) => ({ ...first, id, seed: (first.seed ?? 0) + index + 1, siblings: [] }))];
  remember(made);
  lookSoon();
  announce(say("make.sent", { count: made.length }));
}

/** @param {ApiError} error */
function message(error) {
  if (error.unreachable) return say("offline");
  if (error.code === "moderation_blocked") return say("make.moderated", { why: error.message });
  return error.message;
}

/** Seconds until another try is worth it, counted down. @param {ApiError | null} error */
function useCountdown(error) {
  const [left, setLeft] = useState(0);
  useEffect(() => {
    if (!error?.retryAfterS) return setLeft(0);
    const until = Date.now() + error.retryAfterS * 1000;
    const count = () => setLeft(Math.max(0, Math.ceil((until - Date.now()) / 1000)));
    count();
    const timer = setInterval(count, 500);
    return () => clearInterval(timer);
  }, [error]);
  return left;
}

/** @param {File} file a picture becomes a still, a film of ours gives its settings back */
async function takeFile(file) {
  try {
    if (file.type.startsWith("image/")) return addStill(await pictureOf(file), file.name);
    const id = await idOf(file);
    const video = id && (await find(id));
    if (!video) throw new FileError(say("file.not_ours", { name: file.name }));
    recall(video);
    notify(say("make.recalled"));
  } catch (error) {
    notify(/** @type {Error} */ (error).message, { kind: "error" });
  }
}

/** Size, length, wait and work before anything is sent. */
function Outlook({ value, card, extended }) {
  const { width, height } = sizeOf(value, card);
  useStore(session, (state) => state.status);
  if (!extended) return html`<p class="outlook hint">${width} × ${height}</p>`;
  const { done, wait, own, work } = estimate(value, card);
  const unit = number(work / 1000, { maximumFractionDigits: work < 10000 ? 1 : 0 });
  return html`<p class="outlook" role="status">
    ${done !== null ? html`<strong>${say("make.done_in", { time: seconds(Math.max(1, done)) })}</strong>` : ""}
    <span class="hint">${[
      `${width} × ${height}`,
      done !== null && wait > 1 && say("make.wait", { wait: seconds(wait), own: seconds(Math.max(0.1, own)) }),
      say("make.work", { work: unit }),
    ].filter(Boolean).join(" · ")}</span>
  </p>`;
}
