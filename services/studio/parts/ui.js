// Small parts that every view is made of. Each names what it does to a screen reader.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { dismiss, notices } from "../state/notices.js";
import { useStore } from "../state/store.js";
import { say } from "../text/i18n.js";
import { Icon } from "./icons.js";

/** A button of one icon; its name is its tooltip too. */
export function IconButton({ icon, label, onClick, pressed, disabled = false, filled = false, href, download, kind = "" }) {
  const inside = html`<${Icon} name=${icon} filled=${filled} />`;
  if (href) return html`<a class="icon-button ${kind}" href=${href} download=${download} aria-label=${label} title=${label}>${inside}</a>`;
  return html`<button type="button" class="icon-button ${kind}" aria-label=${label} title=${label} aria-pressed=${pressed}
    disabled=${disabled} onClick=${onClick}>${inside}</button>`;
}

/** A button with words, and an icon before them. */
export function Button({ icon, children, onClick, kind = "", type = "button", disabled = false, href, busy = false, pressed }) {
  const inside = html`${icon && html`<${Icon} name=${icon} />`}<span>${children}</span>`;
  if (href) return html`<a class="button ${kind}" href=${href}>${inside}</a>`;
  return html`<button type=${type} class="button ${kind}" disabled=${disabled || busy} aria-busy=${busy} onClick=${onClick}
    aria-pressed=${pressed}>${inside}</button>`;
}

/** A labelled control; with an error the control is marked and described by it. ``children`` is a function of attributes. */
export function Field({ id, label, hint, error, children, wide = false }) {
  const notes = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  return html`<div class=${`field${wide ? " wide" : ""}${error ? " wrong" : ""}`}>
    <label for=${id}>${label}</label>
    ${children({ id, "aria-describedby": notes, "aria-invalid": error ? "true" : undefined })}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${error && html`<p class="error" id=${`${id}-error`} role="alert">${error}</p>`}
  </div>`;
}

/** One of a few values, as a row of radio buttons. */
export function Choice({ name, label, value, options, onChange }) {
  return html`<fieldset class="choice">
    <legend>${label}</legend>
    <div class="choice-row">
      ${options.map(
        (option) => html`<label key=${option.value} class=${option.value === value ? "chosen" : ""} title=${option.title}>
          <input type="radio" name=${name} value=${option.value} checked=${option.value === value}
            onChange=${() => onChange(option.value)} />
          <span>${option.label}</span>
        </label>`,
      )}
    </div>
  </fieldset>`;
}

/** A range with its value in words. */
export function Slider({ id, label, value, min, max, step, shown, onInput, disabled = false }) {
  return html`<div class="field slider">
    <label for=${id}>${label}<output for=${id}>${shown}</output></label>
    <input id=${id} type="range" min=${min} max=${max} step=${step} value=${value} disabled=${disabled}
      aria-valuetext=${String(shown)} onInput=${(event) => onInput(Number(event.currentTarget.value))} />
  </div>`;
}

/** A number that counts when its field is left: what is being typed stays, however often the view is drawn meanwhile. */
export function NumberInput({ value, onCommit, ...attributes }) {
  const [typed, setTyped] = useState(/** @type {string | null} */ (null));
  const commit = (/** @type {any} */ event) => {
    setTyped(null);
    onCommit(Number(event.currentTarget.value));
  };
  return html`<input ...${attributes} type="number" value=${typed ?? value} onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)}
    onChange=${commit} onBlur=${() => setTyped(null)} />`;
}

export function Switch({ id, label, checked, onChange, hint }) {
  return html`<div class="field switch">
    <label><input id=${id} type="checkbox" role="switch" checked=${checked} onChange=${(event) => onChange(event.currentTarget.checked)} />
      <span>${label}</span></label>
    ${hint && html`<p class="hint">${hint}</p>`}
  </div>`;
}

/** True progress; without a number it only says that something goes on. */
export function Progress({ value, label }) {
  return html`<div class="progress" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${value}>
    <div class="progress-bar" style=${{ inlineSize: `${value}%` }}></div>
  </div>`;
}

/** A modal dialog by the browser's own element, which keeps the focus inside and gives it back. */
export function Dialog({ label, onClose, children, kind = "" }) {
  const ref = useRef(null);
  useEffect(() => {
    const dialog = /** @type {any} */ (ref.current);
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return html`<dialog ref=${ref} class="dialog ${kind}" aria-label=${label} onClose=${onClose}
    onClick=${(event) => event.target === event.currentTarget && onClose()}>
    <div class="dialog-inside">
      <header><h2>${label}</h2><${IconButton} icon="close" label=${say("close")} onClick=${onClose} /></header>
      ${children}
    </div>
  </dialog>`;
}

/** What there is to say when a list is empty. */
export function Empty({ icon, title, children }) {
  return html`<div class="empty"><${Icon} name=${icon} /><h2>${title}</h2>${children}</div>`;
}

/** Messages at the edge, and the quiet line that screen readers hear. */
export function Notices() {
  const { list, spoken } = useStore(notices);
  return html`<div class="notices">
    ${list.map(
      (notice) => html`<div key=${notice.id} class="notice ${notice.kind}" role=${notice.kind === "error" ? "alert" : "status"}>
        <span>${notice.text}</span>
        ${notice.action && html`<button type="button" class="button small" onClick=${() => { notice.action.run(); dismiss(notice.id); }}>${notice.action.label}</button>`}
        <${IconButton} icon="close" label=${say("close")} kind="small" onClick=${() => dismiss(notice.id)} />
      </div>`,
    )}
    <div class="heard" role="status" aria-live="polite">${spoken.map(({ id, text }) => html`<p key=${id}>${text}</p>`)}</div>
  </div>`;
}
