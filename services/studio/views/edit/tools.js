// What each tool can be told.
import { html } from "../../vendor/preact-htm.js";
import { Button, Choice, Field, IconButton, NumberInput, Slider, Switch } from "../../parts/ui.js";
import { changeShape, edit, redo, undo } from "../../state/edit.js";
import { boxAt, withKey } from "../../state/mask.js";
import { number, say, seconds } from "../../text/i18n.js";

const MOST_S = 30;

/** @param {{ value: import("../../state/edit.js").Edit, video: any, card: any }} props */
export function ToolOptions(props) {
  const Options = { extend: Extend, loop: Loop, blend: Blend, repaint: Repaint, outpaint: Outpaint, restyle: Restyle, rate: Rate, cut: Part }[props.value.tool];
  return html`<${Options} ...${props} />`;
}

function Extend({ value, video, card }) {
  const back = card.edits.includes("extend_backward");
  const amount = (/** @type {"before" | "after"} */ name) => html`<${Slider} id=${name} label=${say(`edit.${name}`)} value=${value[name]} min="0" max=${MOST_S} step=${1 / video.fps}
    shown=${seconds(value[name])} onInput=${(time) => edit.set(name === "after" ? { after: time, before: 0 } : { before: time, after: 0 })} />`;
  return html`${amount("after")}${back && amount("before")}<${Part} value=${value} video=${video} />`;
}

/** Which frames of the source are used, when its edges were pulled inwards. */
function Part({ value, video }) {
  if (value.from === 0 && value.until === video.num_frames - 1) return null;
  return html`<p class="hint">${say("edit.part", { from: number(value.from + 1), until: number(value.until + 1) })}
    <button type="button" class="button small quiet" onClick=${() => edit.set({ from: 0, until: video.num_frames - 1 })}>${say("edit.all")}</button></p>`;
}

const Loop = ({ value }) => html`<${Slider} id="loop-length" label=${say("edit.loop_length")} value=${value.loopS} min="0.25" max="10" step="0.25" shown=${seconds(value.loopS)} onInput=${(loopS) => edit.set({ loopS })} />`;

const Blend = ({ value }) => html`<${Slider} id="blend-length" label=${say("edit.blend_length")} value=${value.blendS} min="0.25" max="8" step="0.05" shown=${seconds(value.blendS)} onInput=${(blendS) => edit.set({ blendS })} />`;

function Restyle({ value, video }) {
  return html`<${Slider} id="strength" label=${say("edit.strength")} value=${value.strength} min="0.05" max="1" step="0.05" shown=${number(value.strength, { style: "percent" })}
    onInput=${(strength) => edit.set({ strength })} /><${Part} value=${value} video=${video} />`;
}

function Rate({ value, video }) {
  return html`<${Choice} name="doublings" label=${say("make.rate")} value=${value.doublings} onChange=${(doublings) => edit.set({ doublings })}
    options=${[1, 2].map((power) => ({ value: power, label: `${number(video.fps * 2 ** power)} fps` }))} /><${Part} value=${value} video=${video} />`;
}

function Outpaint({ value, video, card }) {
  const aspect = (/** @type {number} */ ratio) => {
    const near = (/** @type {number} */ side) => Math.round(side / card.size_multiple) * card.size_multiple;
    edit.set({ width: Math.max(video.width, near(video.height * ratio)), height: Math.max(video.height, near(video.width / ratio)) });
  };
  return html`<p class="hint">${value.width} × ${value.height}</p>
    <div class="buttons">${["16:9", "1:1", "9:16", "21:9"].map((name) => {
      const [across, down] = name.split(":").map(Number);
      return html`<${Button} key=${name} kind="small" onClick=${() => aspect(across / down)}>${name}<//>`;
    })}</div>`;
}

function Repaint({ value, video }) {
  const pens = ["brush", "box", "eraser"].map((pen) => ({ value: pen, label: say(`mask.${pen}`) }));
  const selected = value.shapes[value.selected];
  return html`
    <${Choice} name="pen" label=${say("mask.pen")} value=${value.pen} options=${pens} onChange=${(pen) => edit.set({ pen })} />
    ${value.pen !== "box" && html`<${Slider} id="brush" label=${say("mask.size")} value=${value.brush} min="2" max=${Math.round(video.height / 2)} step="1" shown=${`${number(value.brush)} px`} onInput=${(brush) => edit.set({ brush })} />`}
    <${Span} value=${value} video=${video} />
    ${value.pen === "box" && html`<${Button} kind="small" icon="plus" onClick=${() => addBox(value, video)}>${say("mask.add_box")}<//>`}
    ${selected?.kind === "box" && html`<${BoxFields} value=${value} box=${selected} video=${video} />`}
    <div class="action-row">
      <${Button} kind="small quiet" disabled=${!value.shapes.length} onClick=${undo}>${say("undo")}<//>
      <${Button} kind="small quiet" disabled=${!value.undone.length} onClick=${redo}>${say("redo")}<//>
      <${IconButton} icon="trash" label=${say("mask.clear")} disabled=${!value.shapes.length} onClick=${() => edit.set({ shapes: [], undone: [], selected: -1 })} />
    </div>
    <${Switch} id="feather" label=${say("mask.feather")} checked=${value.feather} onChange=${(feather) => edit.set({ feather })} />`;
}

/** @param {import("../../state/edit.js").Edit} value @param {any} video a box in the middle, for who has no pointer */
function addBox(value, video) {
  const key = { frame: value.frame, x: video.width / 4, y: video.height / 4, width: video.width / 2, height: video.height / 2 };
  const [from, to] = value.span;
  edit.set({ shapes: [...value.shapes, { kind: "box", from, to, keys: [key] }], selected: value.shapes.length, undone: [] });
}

/** The frames that the next shape is for, and the selected one with it. */
function Span({ value, video }) {
  const last = video.num_frames - 1;
  const set = (/** @type {[number, number]} */ span) => {
    edit.set({ span });
    const shape = value.shapes[value.selected];
    if (shape) changeShape({ ...shape, from: span[0], to: span[1] });
  };
  const [from, to] = value.span;
  return html`<div class="pair">
    <${Slider} id="span-from" label=${say("mask.from")} value=${from} min="0" max=${last} step="1" shown=${number(from + 1)} onInput=${(frame) => set([Math.min(frame, to), to])} />
    <${Slider} id="span-to" label=${say("mask.to")} value=${to} min="0" max=${last} step="1" shown=${number(to + 1)} onInput=${(frame) => set([from, Math.max(frame, from)])} />
  </div>`;
}

/** A box in numbers; changed at another frame it moves there, evenly in between. */
function BoxFields({ value, box, video }) {
  const now = boxAt(box, value.frame);
  const side = (/** @type {"x" | "y" | "width" | "height"} */ name, /** @type {number} */ most) => html`<${Field} id=${`box-${name}`} label=${say(`mask.${name}`)}>
    ${(attributes) => html`<${NumberInput} ...${attributes} min="0" max=${most} value=${Math.round(now[name])}
      onCommit=${(/** @type {number} */ side) => changeShape(withKey(box, { ...now, frame: value.frame, [name]: side }))} />`}
  <//>`;
  return html`<div class="quad">${side("x", video.width)}${side("y", video.height)}${side("width", video.width)}${side("height", video.height)}</div>
    <${Switch} id="follow" label=${say("mask.follow")} hint=${say("mask.keys", { count: box.keys.length })} checked=${value.follow} onChange=${(follow) => edit.set({ follow })} />`;
}
