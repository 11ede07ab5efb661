// The family tree of a video: what it came from, what came from it, and a way to go on from anyone.
import { html, useEffect, useMemo, useState } from "../vendor/preact-htm.js";
import { editName } from "../parts/card.js";
import { Thumb } from "../parts/thumb.js";
import { Button, Empty } from "../parts/ui.js";
import { familyOf, loadAncestors } from "../state/family.js";
import { find, library } from "../state/library.js";
import { recall } from "../state/draft.js";
import { go, to } from "../state/route.js";
import { useStore } from "../state/store.js";
import { say } from "../text/i18n.js";

const WIDE = 200;
const HIGH = 176;
const ACROSS = 76;
const DOWN = 20;

/** @param {{ id: string }} props */
export function Tree({ id }) {
  const byId = useStore(library, (value) => value.byId);
  const [missing, setMissing] = useState(false);
  useEffect(() => {
    find(id).then((video) => (video ? loadAncestors(video) : setMissing(true)));
  }, [id]);
  const video = byId.get(id);
  const family = useMemo(() => (video ? familyOf(video, byId) : null), [video, byId]);
  if (!family || !video) return missing ? html`<${Empty} icon="tree" title=${say("video.missing")} />` : null;
  const alone = family.members.length === 1;
  return html`<div class="page">
    <header class="page-head"><h1>${say("video.tree")}</h1>
      <p class="hint">${alone ? say("tree.alone") : say("tree.count", { count: family.members.length })}</p></header>
    <${Graph} family=${family} here=${id} />
    <div class="buttons">
      <${Button} icon="play" href=${to("video", id)}>${say("tree.open")}<//>
      <${Button} icon="remix" onClick=${() => { recall(video); go("make"); }}>${say("tree.branch")}<//>
    </div>
  </div>`;
}

/** Generations from the start of the line to its end; arrows lead from a source to what was made of it. */
function Graph({ family, here }) {
  const first = Math.min(...family.members.map((member) => member.depth));
  const rows = Math.max(...family.members.map((member) => member.row)) + 1;
  const columns = Math.max(...family.members.map((member) => member.depth)) - first + 1;
  const place = new Map(family.members.map((member) => [member.video.id, {
    x: (member.depth - first) * (WIDE + ACROSS), y: member.row * (HIGH + DOWN),
  }]));
  const size = { inlineSize: `${columns * (WIDE + ACROSS) - ACROSS}px`, blockSize: `${rows * (HIGH + DOWN) - DOWN}px` };
  return html`<div class="tree" tabindex="0" role="group" aria-label=${say("video.tree")}>
    <div class="tree-inside" style=${size}>
      <svg class="tree-edges" aria-hidden="true" viewBox=${`0 0 ${columns * (WIDE + ACROSS) - ACROSS} ${rows * (HIGH + DOWN) - DOWN}`}>
        ${family.edges.map(([from, into]) => html`<path key=${from + into} d=${curve(place.get(from), place.get(into))} />`)}
      </svg>
      <ul>${family.members.map((member) => html`<${Node} key=${member.video.id} video=${member.video} here=${member.video.id === here} at=${place.get(member.video.id)} />`)}</ul>
    </div>
  </div>`;
}

/** @param {{ x: number, y: number }} from @param {{ x: number, y: number }} into */
function curve(from, into) {
  const [x, y, end, low] = [from.x + WIDE, from.y + 56, into.x, into.y + 56];
  const bend = Math.max(24, (end - x) / 2);
  return `M${x} ${y} C${x + bend} ${y} ${end - bend} ${low} ${end} ${low}`;
}

function Node({ video, here, at }) {
  const [pointed, setPointed] = useState(false);
  const name = video.prompt || say("video.untitled");
  return html`<li style=${{ insetInlineStart: `${at.x}px`, insetBlockStart: `${at.y}px`, inlineSize: `${WIDE}px` }}>
    <a class="tree-node" href=${to("tree", video.id)} aria-current=${here ? "true" : undefined}
      onPointerEnter=${() => setPointed(true)} onPointerLeave=${() => setPointed(false)}>
      <span class="card-picture"><${Thumb} video=${video} playing=${pointed} /></span>
      <span class="tree-kind">${editName(video) ?? say(video.remixed_from_video_id ? "tree.remix" : "tree.start")}</span>
      <span class="tree-words" dir="auto">${name}</span>
    </a>
  </li>`;
}
