// The door: an API key, and where it is for another server its address.
import { html, useState } from "../vendor/preact-htm.js";
import { Button, Field } from "../parts/ui.js";
import { ownServer, session, signIn } from "../state/session.js";
import { useStore } from "../state/store.js";
import { say, seconds } from "../text/i18n.js";

/** @param {import("../api/client.js").ApiError | null} error */
function reason(error) {
  if (!error) return null;
  if (error.status === 401 || error.status === 403) return say("signin.wrong");
  if (error.unreachable) return say("signin.unreachable");
  if (error.retryAfterS) return say("signin.later", { time: seconds(error.retryAfterS) });
  return error.message;
}

export function SignIn() {
  const { phase, error } = useStore(session);
  const [key, setKey] = useState("");
  const [server, setServer] = useState(ownServer());
  const enter = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (key.trim()) signIn(key.trim(), server.trim() || ownServer());
  };
  return html`<main class="door">
    <form class="door-card" onSubmit=${enter}>
      <img src="icon.svg" alt="" width="56" height="56" />
      <h1>${say("signin.title")}</h1>
      <p class="hint">${say("signin.lead")}</p>
      <${Field} id="key" label=${say("signin.key")} error=${reason(error)}>
        ${(attributes) => html`<input ...${attributes} type="password" autocomplete="current-password" spellcheck=${false}
          value=${key} required onInput=${(event) => setKey(event.currentTarget.value)} />`}
      <//>
      <details>
        <summary>${say("signin.other")}</summary>
        <${Field} id="server" label=${say("signin.server")} hint=${say("signin.server_hint")}>
          ${(attributes) => html`<input ...${attributes} type="url" value=${server} onInput=${(event) => setServer(event.currentTarget.value)} />`}
        <//>
      </details>
      <${Button} type="submit" kind="primary" busy=${phase === "looking"}>${say("signin.enter")}<//>
    </form>
  </main>`;
}
