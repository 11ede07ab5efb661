// The options of a request: those that everybody sets, and the others behind one word.
import { html } from "../vendor/preact-htm.js";
import { Choice, Field, NumberInput, Slider, Switch } from "../parts/ui.js";
import { ASPECTS, draft, framesOf, lengthOf, longest, sizeOf } from "../state/draft.js";
import { session } from "../state/session.js";
import { number, say, seconds } from "../text/i18n.js";

const MOST_SECONDS = 20;

/** A small picture of an aspect, drawn to scale. */
function AspectIcon({ aspect }) {
  const [across, down] = aspect.split(":").map(Number);
  const scale = 14 / Math.max(across, down);
  return html`<i class="aspect" style=${{ inlineSize: `${across * scale}px`, blockSize: `${down * scale}px` }}></i>`;
}

export function ShapeOptions({ value, card, wrong, extended }) {
  const most = longest(value, card);
  const limit = Math.max(1, Math.min(MOST_SECONDS, most === null ? MOST_SECONDS : most / card.fps));
  const step = extended ? card.frame_multiple / card.fps : 1;
  const length = lengthOf(value, card) / card.fps;
  const shapes = ["auto", ...ASPECTS, "free"].map((shape) => ({
    value: shape,
    title: shape,
    label: ["auto", "free"].includes(shape) ? say(`shape.${shape}`) : html`<${AspectIcon} aspect=${shape} />${shape}`,
  }));
  return html`<div class="options">
    <${Choice} name="aspect" label=${say("make.aspect")} value=${value.shape} options=${shapes}
      onChange=${(shape) => draft.set({ shape, ...(shape === "free" ? sizeOf(value, card) : {}) })} />
    ${value.shape === "free" && html`<${FreeSize} value=${value} card=${card} />`}
    ${wrong("size", "aspect_ratio") && html`<p class="error" role="alert">${wrong("size", "aspect_ratio")}</p>`}
    <div class="options-row">
      <${Slider} id="length" label=${say("make.length")} value=${Math.min(length, limit)} min=${1 / card.fps} max=${limit} step=${step}
        shown=${extended ? `${seconds(length)} · ${say("make.frames", { count: number(lengthOf(value, card)) })}` : seconds(length)}
        onInput=${(chosen) => draft.set({ seconds: extended ? framesOf(chosen, card) / card.fps : Math.round(chosen) })} />
      ${extended && html`<${Slider} id="count" label=${say("make.count")} value=${value.count} min="1" max=${session.get().status?.limits?.max_outputs ?? 8} step="1"
        shown=${number(value.count)} onInput=${(count) => draft.set({ count })} />`}
    </div>
    ${wrong("seconds", "num_frames", "n") && html`<p class="error" role="alert">${wrong("seconds", "num_frames", "n")}</p>`}
  </div>`;
}

/** Any width and height, rounded to what the model makes when the field is left. */
function FreeSize({ value, card }) {
  const { width, height } = sizeOf(value, card);
  const side = (/** @type {"width" | "height"} */ name, /** @type {number} */ now) => html`<${Field} id=${name} label=${say(`make.${name}`)}>
    ${(attributes) => html`<${NumberInput} ...${attributes} min=${card.size_multiple} step=${card.size_multiple} value=${now}
      onCommit=${(/** @type {number} */ side) => draft.set({ [name]: side })} />`}
  <//>`;
  return html`<div class="options-row narrow">${side("width", width)}<span aria-hidden="true">×</span>${side("height", height)}</div>`;
}

export function MoreOptions({ value, card, cards, wrong }) {
  const can = (/** @type {string} */ name) => card.edits.includes(name);
  const text = (/** @type {keyof import("../state/draft.js").Draft} */ name) => (/** @type {any} */ event) => draft.set({ [name]: event.currentTarget.value });
  const any = wrong("seed", "num_inference_steps", "guidance_scale", "negative_prompt", "priority", "model");
  return html`<details class="more" open=${Boolean(any) || undefined}>
    <summary>${say("make.more")}</summary>
    <div class="more-grid">
      <${Field} id="negative" label=${say("make.negative")} error=${wrong("negative_prompt")} wide>
        ${(attributes) => html`<input ...${attributes} type="text" dir="auto" value=${value.negative} onInput=${text("negative")} />`}
      <//>
      <${Field} id="seed" label=${say("make.seed")} hint=${say("make.seed_hint")} error=${wrong("seed")}>
        ${(attributes) => html`<input ...${attributes} type="number" min="0" value=${value.seed} placeholder=${say("make.random")} onInput=${text("seed")} />`}
      <//>
      <${Field} id="steps" label=${say("make.steps")} error=${wrong("num_inference_steps")}>
        ${(attributes) => html`<input ...${attributes} type="number" min="1" max=${session.get().status?.limits?.max_steps} value=${value.steps} placeholder=${card.default_num_inference_steps} onInput=${text("steps")} />`}
      <//>
      <${Field} id="guidance" label=${say("make.guidance")} hint=${say("make.guidance_hint")} error=${wrong("guidance_scale")}>
        ${(attributes) => html`<input ...${attributes} type="number" min="0" max="100" step="0.1" value=${value.guidance} placeholder=${card.default_guidance_scale} onInput=${text("guidance")} />`}
      <//>
      ${cards.length > 1 && html`<${Field} id="model" label=${say("make.model")} error=${wrong("model")}>
        ${(attributes) => html`<select ...${attributes} value=${card.id} onChange=${text("model")}>${cards.map(({ id }) => html`<option key=${id} value=${id}>${id}</option>`)}</select>`}
      <//>`}
      <${Slider} id="priority" label=${say("make.priority")} value=${value.priority} min="-10" max="10" step="1" shown=${number(value.priority, { signDisplay: "exceptZero" })}
        onInput=${(priority) => draft.set({ priority })} />
      ${can("loop") && html`<${Switch} id="loop" label=${say("make.loop")} checked=${value.loop} onChange=${(loop) => draft.set({ loop, rate: loop ? 0 : value.rate })} />`}
      ${can("interpolate") && html`<${Choice} name="rate" label=${say("make.rate")} value=${value.rate} onChange=${(rate) => draft.set({ rate, loop: rate ? false : value.loop })}
        options=${[0, 1, 2].map((power) => ({ value: power, label: power ? `${number(card.fps * 2 ** power)} fps` : `${number(card.fps)} fps` }))} />`}
    </div>
  </details>`;
}
