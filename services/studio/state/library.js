// The key's videos as the server has them. The page only looks: what it knows is thrown away and read again at will.
import { ApiError } from "../api/client.js";
import { say, seconds } from "../text/i18n.js";
import { announce, notify } from "./notices.js";
import { client, refreshServer, session, signOut } from "./session.js";
import { createStore } from "./store.js";

/** @typedef {import("../api/types.js").Video} Video */

const PAGE = 100;
const OPEN_MS = 1000;
const IDLE_MS = 8000;
const LONGEST_MS = 10000;
const UNDO_MS = 7000;

/**
 * ``ids`` newest first. ``hidden``: deleted here, and on the server when the time to undo is over. ``online``: whether
 * the last look reached the server.
 * @typedef {{ byId: Map<string, Video>, ids: string[], hasMore: boolean, loading: boolean, loaded: boolean,
 *   online: boolean, hidden: Set<string> }} Library
 */
/** @returns {Library} */
const empty = () => ({
  byId: new Map(), ids: [], hasMore: false, loading: false, loaded: false, online: true, hidden: new Set(),
});
export const library = createStore(empty());

/** @param {Video} video */
export const isOpen = (video) => video.status === "queued" || video.status === "in_progress";

/** @param {Library} value @returns {Video[]} */
export const shown = (value) =>
  value.ids.filter((id) => !value.hidden.has(id)).map((id) => /** @type {Video} */ (value.byId.get(id)));

/** @param {Video[]} videos take them in, wherever they belong by age */
export function remember(videos) {
  library.set((value) => {
    const byId = new Map(value.byId);
    let added = false;
    for (const video of videos) {
      const known = byId.get(video.id);
      added ||= !known;
      if (known && isOpen(known) && !isOpen(video)) tellEnd(video);
      // Only the answer to the request that made it names a video's siblings.
      byId.set(video.id, known?.siblings?.length && !video.siblings?.length ? { ...video, siblings: known.siblings } : video);
    }
    const ids = added ? [...byId.keys()].sort((a, b) => byOrder(byId, a, b)) : value.ids;
    return { ...value, byId, ids };
  });
}

/** @param {Map<string, Video>} byId @param {string} a @param {string} b newest first; ids break ties */
function byOrder(byId, a, b) {
  const later = (byId.get(b)?.created_at ?? 0) - (byId.get(a)?.created_at ?? 0);
  return later || (a < b ? 1 : -1);
}

/** @param {Video} video */
function tellEnd(video) {
  const what = { prompt: video.prompt ?? "" };
  if (video.status === "completed") announce(say("queue.done", what));
  else announce(say("queue.failed", what));
}

/** The next page of older videos; none while the server doesn't answer, for the next look finds out when it does. */
export async function loadMore() {
  const { loading, hasMore, loaded, online, ids } = library.get();
  if (loading || !online || (loaded && !hasMore)) return;
  library.set({ loading: true });
  try {
    const page = await client().videos({ after: loaded ? ids.at(-1) : null, limit: PAGE });
    remember(page.data);
    library.set({ hasMore: page.has_more, loaded: true, online: true });
  } catch (error) {
    failed(error);
  } finally {
    library.set({ loading: false });
  }
}

/** Read the newest page, and every open video that is older than it. */
async function look() {
  const page = await client().videos({ limit: PAGE });
  const there = new Set(page.data.map((video) => video.id));
  const { byId, ids, loaded } = library.get();
  const oldest = page.data.at(-1)?.created_at ?? 0;
  const missing = ids.filter((id) => !there.has(id));
  const gone = missing.filter((id) => !page.has_more || /** @type {Video} */ (byId.get(id)).created_at > oldest);
  if (gone.length) forget(gone);
  remember(page.data);
  for (const id of missing) {
    const video = library.get().byId.get(id);
    if (video && isOpen(video)) remember([await client().video(id)]);
  }
  if (!loaded) library.set({ hasMore: page.has_more, loaded: true });
}

/** @param {string[]} ids */
function forget(ids) {
  library.set((value) => {
    const byId = new Map(value.byId);
    for (const id of ids) byId.delete(id);
    return { ...value, byId, ids: value.ids.filter((id) => byId.has(id)) };
  });
}

/** @param {unknown} error */
function failed(error) {
  if (!(error instanceof ApiError)) throw error;
  if (error.status === 401) signOut(error);
  else library.set({ online: false });
}

let timer = 0;
let pause = OPEN_MS;

/** Keep looking while the page is open: often while something is made, rarely otherwise, ever more rarely in vain. */
export function keepLooking() {
  session.watch(() => {
    if (session.get().phase === "in" && !timer) tick();
    if (session.get().phase === "out") {
      clearTimeout(timer);
      timer = 0;
      if (library.get().loaded) library.set(empty());
    }
  });
  const now = () => session.get().phase === "in" && lookSoon();
  document.addEventListener("visibilitychange", () => !document.hidden && now());
  addEventListener("online", now);
}

/** Look at once, not when the pause is over. */
export function lookSoon() {
  clearTimeout(timer);
  tick();
}

async function tick() {
  timer = -1;
  try {
    const before = library.get().online;
    await look();
    if (!before) await refreshServer();
    library.set({ online: true });
    const busy = shown(library.get()).some(isOpen);
    if (busy) await refreshServer();
    pause = document.hidden ? LONGEST_MS : busy ? OPEN_MS : IDLE_MS;
  } catch (error) {
    failed(error);
    pause = Math.min(pause * 1.5, LONGEST_MS);
  }
  if (session.get().phase === "in" && timer === -1) timer = setTimeout(tick, pause);
}

/** @param {string} id @returns {Promise<Video | null>} from what is known, or from the server; null when it is gone */
export async function find(id) {
  const known = library.get().byId.get(id);
  if (known) return known;
  try {
    const video = await client().video(id);
    remember([video]);
    return video;
  } catch (error) {
    if (error instanceof ApiError && [400, 404].includes(error.status)) return null;
    throw error;
  }
}

/** @param {Video} video */
export async function cancel(video) {
  remember([await client().cancel(video.id)]);
  announce(say("queue.cancelled", { prompt: video.prompt ?? "" }));
  lookSoon();
}

/** Hide videos now and delete them when nobody has asked to undo it. @param {Video[]} videos */
export function remove(videos) {
  const ids = videos.map((video) => video.id);
  const hide = (/** @type {boolean} */ on) =>
    library.set((value) => {
      const hidden = new Set(value.hidden);
      for (const id of ids) on ? hidden.add(id) : hidden.delete(id);
      return { ...value, hidden };
    });
  hide(true);
  let undone = false;
  const finish = async () => {
    if (undone) return;
    removeEventListener("pagehide", finish);
    undone = true;
    await Promise.allSettled(ids.map((id) => client().remove(id)));
    forget(ids);
    hide(false);
  };
  addEventListener("pagehide", finish);
  const undo = () => {
    undone = true;
    removeEventListener("pagehide", finish);
    hide(false);
  };
  notify(say(ids.length > 1 ? "gallery.deleted_many" : "gallery.deleted", { count: ids.length }), {
    action: { label: say("undo"), run: undo }, ms: UNDO_MS,
  });
  setTimeout(finish, UNDO_MS);
}

/** @param {Video} video @param {number} now Unix seconds; @returns {string | null} when it should be done, in words */
export function predictedEnd(video, now = Date.now() / 1000) {
  const ends = video.predicted_end_at ?? null;
  if (ends !== null) return seconds(Math.max(1, ends - now));
  if (!video.started_at || video.progress < 3) return null;
  return seconds(Math.max(1, ((now - video.started_at) / video.progress) * (100 - video.progress)));
}
