// The way between the views, and what concerns the whole page: connection, queue, theme, language, signing out.
import { html, useState } from "../vendor/preact-htm.js";
import { isOpen, library, shown } from "../state/library.js";
import { prefs } from "../state/prefs.js";
import { to } from "../state/route.js";
import { session, signOut } from "../state/session.js";
import { useStore } from "../state/store.js";
import { LANGUAGES, language, say } from "../text/i18n.js";
import { VIEWS } from "../views/views.js";
import { Icon } from "./icons.js";
import { Button, Choice, Dialog, Field, IconButton } from "./ui.js";

const FAMILY = { video: "gallery", tree: "gallery", edit: "gallery", compare: "gallery" };

/** @param {{ view: string }} props */
export function Nav({ view }) {
  const [settings, setSettings] = useState(false);
  const open = useStore(library, (value) => shown(value).filter(isOpen).length);
  const online = useStore(library, (value) => value.online);
  const known = useStore(session);
  const offered = Object.entries(VIEWS).filter(([, entry]) => entry.icon && (!entry.needs || entry.needs(known)));
  return html`<nav class="nav" aria-label=${say("nav.label")}>
    <a class="nav-mark" href=${to("make")} aria-label="Studio"><img src="icon.svg" alt="" width="32" height="32" /></a>
    <ul>
      ${offered.map(
        ([name, entry]) => html`<li key=${name}>
          <a href=${to(name)} aria-current=${(FAMILY[view] ?? view) === name ? "page" : undefined}>
            <${Icon} name=${entry.icon} /><span>${say(entry.title)}</span>
            ${name === "queue" && open > 0 && html`<b class="nav-count"><span aria-hidden="true">${open}</span><span class="heard">${say("nav.open", { count: open })}</span></b>`}
          </a>
        </li>`,
      )}
    </ul>
    <div class="nav-end">
      ${!online && html`<span class="nav-offline" role="status" title=${say("offline")}>${say("offline.short")}</span>`}
      <${IconButton} icon="sliders" label=${say("settings")} onClick=${() => setSettings(true)} />
    </div>
    ${settings && html`<${Settings} onClose=${() => setSettings(false)} />`}
  </nav>`;
}

/** @param {{ onClose: () => void }} props */
function Settings({ onClose }) {
  const { theme } = useStore(prefs);
  const base = useStore(session, (value) => value.client?.base);
  return html`<${Dialog} label=${say("settings")} onClose=${onClose}>
    <div class="stack">
      <${Choice} name="theme" label=${say("settings.theme")} value=${theme} onChange=${(value) => prefs.set({ theme: value })}
        options=${["system", "light", "dark"].map((value) => ({ value, label: say(`theme.${value}`) }))} />
      <${Field} id="language" label=${say("settings.language")}>
        ${(attributes) => html`<select ...${attributes} value=${language()} onChange=${(event) => prefs.set({ language: event.currentTarget.value })}>
          ${Object.entries(LANGUAGES).map(([code, { name }]) => html`<option key=${code} value=${code}>${name}</option>`)}
        </select>`}
      <//>
      <p class="hint">${say("settings.server", { server: base ?? "" })}</p>
      <${Button} icon="out" onClick=${() => signOut()}>${say("signout")}<//>
    </div>
  <//>`;
}
