// Where a film says that it comes from: its signed statement (C2PA), the mark in its pixels and its looks, checked by the server.
import { html, useState } from "../vendor/preact-htm.js";
import { ApiError } from "../api/client.js";
import { client, session } from "../state/session.js";
import { useStore } from "../state/store.js";
import { number, say, sayIf } from "../text/i18n.js";
import { Button } from "./ui.js";

/** @param {{ video: import("../api/types.js").Video }} props */
export function Origin({ video }) {
  const [results, setResults] = useState(/** @type {any[] | null} */ (null));
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const offered = useStore(session, (value) => value.checksOrigin);
  if (!offered) return null;
  const check = async () => {
    setBusy(true);
    try {
      const file = await client().content(video.id, "video");
      setResults((await client().checkOrigin(file)).results);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404 || error.status === 405) session.set({ checksOrigin: false }); // not this server
      else setProblem(error.message);
    } finally {
      setBusy(false);
    }
  };
  return html`<section class="origin" aria-label=${say("origin")}>
    <${Button} icon="shield" busy=${busy} onClick=${check}>${say("origin.check")}<//>
    ${problem && html`<p class="error" role="alert">${problem}</p>`}
    ${results && html`<dl class="facts">${results.map((result) => html`<div key=${result.type}><dt>${sayIf(`origin.${result.type}`) ?? result.type}</dt>
      <dd>${say(result.outcome === "detected" ? "origin.found" : "origin.absent")}${result.validation_state && result.outcome === "detected" ? ` · ${result.validation_state}` : ""}
        ${result.likeness ? ` · ${number(result.likeness, { style: "percent" })}` : ""}
        ${result.issuer && html`<br />${result.issuer}`}</dd></div>`)}</dl>`}
  </section>`;
}
