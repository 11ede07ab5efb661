// What curation and training left: curated sets with their clips, and runs with their curves. Read, never changed.
import { ApiError } from "../api/client.js";
import { client } from "./session.js";
import { createStore } from "./store.js";

/** @typedef {import("../api/types.js").FootageTotals} FootageTotals */
/** @typedef {import("../api/types.js").FootageClip} FootageClip */
/** @typedef {import("../api/types.js").TrainingRunDetails} TrainingRunDetails */
/** @typedef {{ status: string, reason: string, words: string }} Wanted empty is any */
/**
 * @typedef {{ names: string[], name: string, totals: FootageTotals | null, clips: (FootageClip & { id: string })[],
 *   hasMore: boolean, loading: boolean, wanted: Wanted, error: string }} Footage
 */

const PAGE = 60;
const ANY = { status: "", reason: "", words: "" };

/** @type {import("./store.js").Store<Footage>} */
export const footage = createStore({
  names: [], name: "", totals: null, clips: [], hasMore: false, loading: false, wanted: ANY, error: "",
});

/** @type {import("./store.js").Store<{ names: string[], name: string, run: TrainingRunDetails | null, error: string }>} */
export const training = createStore({ names: [], name: "", run: null, error: "" });

/** @param {string} [asked] a set by name, the first one otherwise */
export async function openFootage(asked) {
  try {
    const names = (await client().footage()).data.map(({ id }) => id);
    const name = asked && names.includes(asked) ? asked : names[0] ?? "";
    footage.set({ names, name, totals: null, clips: [], hasMore: false, error: "" });
    if (!name) return;
    await Promise.all([client().footageTotals(name).then((totals) => footage.set({ totals })), clipsFrom(null)]);
  } catch (error) {
    footage.set({ error: words(error) });
  }
}

/** @param {Partial<Wanted>} change other clips from now on */
export async function narrow(change) {
  footage.set((value) => ({ ...value, wanted: { ...value.wanted, ...change }, clips: [], hasMore: false }));
  await clipsFrom(null).catch((error) => footage.set({ error: words(error) }));
}

/** The next page. */
export async function moreClips() {
  const { loading, hasMore, clips, error } = footage.get();
  if (loading || !hasMore || error) return;
  await clipsFrom(clips.at(-1)?.place ?? null).catch((error) => footage.set({ error: words(error) }));
}

/** @param {string | null} after */
async function clipsFrom(after) {
  const { name, wanted } = footage.get();
  footage.set({ loading: true });
  try {
    const query = { after, limit: PAGE, status: wanted.status || null, reason: wanted.reason || null, words: wanted.words || null };
    const page = await client().footageClips(name, query);
    if (footage.get().wanted !== wanted || footage.get().name !== name) return; // asked otherwise meanwhile
    const found = page.data.map((clip) => ({ ...clip, id: clip.place }));
    footage.set((value) => ({ ...value, clips: after ? [...value.clips, ...found] : found, hasMore: page.has_more }));
  } finally {
    footage.set({ loading: false });
  }
}

/** @param {string} [asked] a run by name, the first one otherwise */
export async function openRun(asked) {
  try {
    const names = (await client().runs()).data.map(({ id }) => id);
    const name = asked && names.includes(asked) ? asked : names[0] ?? "";
    if (name !== training.get().name) training.set({ run: null });
    training.set({ names, name, error: "" });
    if (name) training.set({ run: await client().run(name) });
  } catch (error) {
    training.set({ error: words(error) });
  }
}

/** @param {unknown} error */
function words(error) {
  if (!(error instanceof ApiError)) throw error;
  return error.message;
}
