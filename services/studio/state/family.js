// What came from what: the videos that one was made from, and those that were made from it.
import { find } from "./library.js";

/** @typedef {import("../api/types.js").Video} Video */
/** @typedef {{ video: Video, depth: number, row: number }} Member depth below 0: an ancestor */

/** @param {Video} video @returns {string[]} the videos that it was made from, by their ids */
export const sourcesOf = (video) =>
  video.sources?.length ? video.sources : video.remixed_from_video_id ? [video.remixed_from_video_id] : [];

const MOST = 60; // members shown; a family can be larger than a page

/** Read the ancestors that the library doesn't hold yet. @param {Video} video @returns {Promise<void>} */
export async function loadAncestors(video) {
  const asked = new Set([video.id]);
  let front = sourcesOf(video);
  while (front.length && asked.size < MOST) {
    const found = await Promise.all(front.filter((id) => !asked.has(id)).map((id) => (asked.add(id), find(id))));
    front = found.flatMap((one) => (one ? sourcesOf(one) : []));
  }
}

/**
 * The family of a video: its ancestors, itself, and everything that came from any of them, by generations.
 * @param {Video} video @param {Map<string, Video>} byId
 * @returns {{ members: Member[], edges: [string, string][] }} edges lead from a source to what was made of it
 */
export function familyOf(video, byId) {
  /** @type {Map<string, number>} */
  const depth = new Map();
  const up = (/** @type {Video} */ one, /** @type {number} */ level) => {
    if ((depth.get(one.id) ?? 1) <= level) return;
    depth.set(one.id, level);
    for (const id of sourcesOf(one)) if (byId.has(id)) up(/** @type {Video} */ (byId.get(id)), level - 1);
  };
  up(video, 0);
  const youngestLast = [...byId.values()].sort((a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1));
  for (const one of youngestLast) {
    const known = sourcesOf(one).filter((id) => depth.has(id));
    if (!known.length || depth.has(one.id) || depth.size >= MOST) continue;
    const level = Math.max(...known.map((id) => /** @type {number} */ (depth.get(id)))) + 1;
    depth.set(one.id, level);
    for (const id of sourcesOf(one)) if (byId.has(id) && !depth.has(id)) depth.set(id, level - 1); // the other of a blend
  }
  const rows = new Map();
  const members = youngestLast.filter(({ id }) => depth.has(id)).map((one) => {
    const level = /** @type {number} */ (depth.get(one.id));
    const row = rows.get(level) ?? 0;
    rows.set(level, row + 1);
    return { video: one, depth: level, row };
  });
  const edges = members.flatMap(({ video: one }) =>
    sourcesOf(one).filter((id) => depth.has(id)).map((id) => /** @type {[string, string]} */ ([id, one.id])),
  );
  return { members, edges };
}
