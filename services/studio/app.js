// The entry: session, routes and the frame around every view.
import { html, render, useEffect } from "./vendor/preact-htm.js";
import { Notices } from "./parts/ui.js";
import { Nav } from "./parts/nav.js";
import { keepLooking } from "./state/library.js";
import { applyTheme, prefs } from "./state/prefs.js";
import { arrive, followAddress, route } from "./state/route.js";
import { hasKey, resume, session } from "./state/session.js";
import { useStore } from "./state/store.js";
import { applyLanguage, say } from "./text/i18n.js";
import { VIEWS } from "./views/views.js";
import { SignIn } from "./views/signin.js";

function App() {
  const phase = useStore(session, (value) => value.phase);
  const known = useStore(session, (value) => value.client !== null);
  const { view, id } = useStore(route);
  useStore(prefs, (value) => value.language);
  const View = VIEWS[view]?.View ?? VIEWS.make.View;
  const title = say(VIEWS[view]?.title ?? "nav.make");
  useEffect(() => {
    document.title = `${title} · Studio`;
  }, [title]);
  if (phase !== "in" && !known) return html`<${SignIn} /><${Notices} />`;
  return html`
    <a class="skip" href="#content" onClick=${skip}>${say("skip")}</a>
    <${Nav} view=${view} />
    <main id="content" tabindex="-1" class="view-${view}"><${View} key=${view + id} id=${id} /></main>
    <${Notices} />
  `;
}

/** @param {Event} event the address after # is the route, so the jump is made by hand */
function skip(event) {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

prefs.watch(() => {
  applyTheme();
  applyLanguage();
});
applyTheme();
applyLanguage();
keepLooking();
await resume();
followAddress();
addEventListener("hashchange", () => hasKey() && resume().then(arrive));
const place = /** @type {HTMLElement} */ (document.getElementById("studio"));
place.textContent = "";
render(html`<${App} />`, place);
