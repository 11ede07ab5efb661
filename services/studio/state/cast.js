// The key's characters: names that prompts call, each shown by a clip.
import { ApiError } from "../api/client.js";
import { client } from "./session.js";
import { createStore } from "./store.js";

/** @typedef {import("../api/types.js").Character} Character */

export const cast = createStore({ list: /** @type {Character[]} */ ([]), loaded: false });

export async function loadCast() {
  try {
    cast.set({ list: (await client().characters()).data, loaded: true });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // without an answer there is nobody to offer
  }
}

/** @param {{ name: string, video: Blob | { id: string }, start_s?: number, end_s?: number }} wish */
export async function addCharacter(wish) {
  const made = await client().createCharacter(wish);
  cast.set((value) => ({ ...value, list: [made, ...value.list] }));
  return made;
}

/** @param {string} id */
export async function removeCharacter(id) {
  await client().removeCharacter(id);
  cast.set((value) => ({ ...value, list: value.list.filter((one) => one.id !== id) }));
}
