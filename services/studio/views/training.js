// A training run: its curves, and what each checkpoint makes, step by step.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { useFile } from "../api/media.js";
import { Choice, Empty, Slider } from "../parts/ui.js";
import { openRun, training } from "../state/boards.js";
import { client } from "../state/session.js";
import { go } from "../state/route.js";
import { useStore } from "../state/store.js";
import { number, say } from "../text/i18n.js";

const AGAIN_MS = 10000; // it may be going on
const WIDE = 640;
const HIGH = 200;
const CURVES = ["loss", "gradient_norm", "rate"];

/** @param {{ id: string }} props the run by name */
export function Training({ id }) {
  const { names, name, run, error } = useStore(training);
  const [curve, setCurve] = useState("loss");
  useEffect(() => {
    openRun(id);
    const timer = setInterval(() => document.hidden || openRun(id), AGAIN_MS);
    return () => clearInterval(timer);
  }, [id]);
  const last = run?.curves.step.at(-1);
  return html`<div class="page">
    <header class="page-head"><h1>${say("nav.training")}</h1>${last !== undefined && html`<p class="hint">${say("training.steps", { step: number(last) })}</p>`}</header>
    ${error && html`<p class="error" role="alert">${error}</p>`}
    ${names.length > 1 && html`<${Choice} name="run" label=${say("training.run")} value=${name} options=${names.map((one) => ({ value: one, label: one }))} onChange=${(one) => go("training", one)} />`}
    ${!names.length && !error ? html`<${Empty} icon="curve" title=${say("training.none")} />` : ""}
    ${run && html`<${Choice} name="curve" label=${say("training.curve")} value=${curve} options=${CURVES.map((one) => ({ value: one, label: say(`training.${one}`) }))} onChange=${setCurve} />
      <${Curve} step=${run.curves.step} values=${run.curves.values[curve] ?? []} name=${say(`training.${curve}`)} />`}
    ${run?.checkpoints.length ? html`<${Checkpoints} run=${run} />` : ""}
  </div>`;
}

/** @param {{ step: number[], values: (number | null)[], name: string }} props a line over the steps, with its ends in numbers */
function Curve({ step, values, name }) {
  const points = step.map((at, index) => ({ at, value: values[index] })).filter((point) => point.value !== null && point.value !== undefined);
  if (!points.length) return html`<p class="hint">${say("training.no_curve")}</p>`;
  const all = points.map((point) => /** @type {number} */ (point.value));
  const [low, high, first, last] = [Math.min(...all), Math.max(...all), points[0].at, points[points.length - 1].at];
  const x = (/** @type {number} */ at) => ((at - first) / Math.max(1, last - first)) * WIDE;
  const y = (/** @type {number} */ value) => HIGH - ((value - low) / (high - low || 1)) * HIGH;
  const short = (/** @type {number} */ value) => number(value, { maximumSignificantDigits: 3 });
  const path = points.map((point, index) => `${index ? "L" : "M"}${x(point.at).toFixed(1)} ${y(/** @type {number} */ (point.value)).toFixed(1)}`).join("");
  return html`<figure class="curve">
    <div class="curve-scale" aria-hidden="true"><span>${short(high)}</span><span>${short(low)}</span></div>
    <svg viewBox=${`0 -4 ${WIDE} ${HIGH + 8}`} preserveAspectRatio="none" role="img" aria-label=${say("training.from_to", { name, from: short(all[0]), to: short(all[all.length - 1]), steps: number(last) })}><path d=${path} /></svg>
    <figcaption><span>${number(first)}</span><span>${say("training.step")}</span><span>${number(last)}</span></figcaption>
  </figure>`;
}

/** Samples by step: the same prompts and seeds all along, so that one sees it learn. */
function Checkpoints({ run }) {
  const ordered = [...run.checkpoints].reverse();
  const [chosen, setChosen] = useState(ordered.length - 1);
  const one = ordered[Math.min(chosen, ordered.length - 1)];
  const films = one.files.filter((/** @type {string} */ file) => file.endsWith(".mp4"));
  return html`<section class="stack" aria-labelledby="checkpoints">
    <h2 id="checkpoints">${say("training.checkpoints")}</h2>
    ${ordered.length > 1 && html`<${Slider} id="checkpoint" label=${say("training.step")} value=${chosen} min="0" max=${ordered.length - 1} step="1" shown=${number(one.step)} onInput=${setChosen} />`}
    <p class="hint">${say("training.at", { step: number(one.step), count: number(films.length) })}</p>
    <div class="samples">${films.map((/** @type {string} */ file) => html`<${Sample} key=${one.step + file} run=${run.id} step=${one.step} file=${file} />`)}</div>
    ${one.files.includes("README.md") && html`<${CardText} key=${one.step} run=${run.id} step=${one.step} />`}
  </section>`;
}

/** @param {string} run @param {number} step */
const filesOf = (run, step) => `/training/${encodeURIComponent(run)}/checkpoints/${step}/files`;

function Sample({ run, step, file }) {
  const { url, failed } = useFile(filesOf(run, step), { file });
  const quiet = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (failed) return html`<p class="hint">${say("thumb.missing")}</p>`;
  return html`<video src=${url} muted loop playsinline controls autoplay=${!quiet} aria-label=${`${file}, ${say("training.step")} ${step}`}></video>`;
}

/** The checkpoint's card, as it was written. */
function CardText({ run, step }) {
  const [text, setText] = useState("");
  useEffect(() => {
    client().file(filesOf(run, step), { file: "README.md" }).then((file) => file.text()).then(setText, () => setText(""));
  }, [run, step]);
  return text && html`<details class="more"><summary>${say("training.card")}</summary><pre class="card-text" tabindex="0" dir="auto">${text}</pre></details>`;
}
