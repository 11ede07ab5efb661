// Who is signed in, to which server, and what that server can do. The key lives as long as the browser's tab.
import { ApiError, Client } from "../api/client.js";
import { createStore } from "./store.js";

/** @typedef {import("../api/types.js").ModelCard} ModelCard */
/** @typedef {import("../api/types.js").ServiceStatus} ServiceStatus */

const PLACE = "sora-studio-session";
const OWN = new URL(document.querySelector('meta[name="sora-api"]')?.getAttribute("content") ?? "/v1", location.href).href;

/**
 * ``phase``: signed out, looking at the server, or in. ``extended``: the server tells what its models can do.
 * @typedef {{ phase: "out" | "looking" | "in", client: Client | null, cards: ModelCard[], extended: boolean,
 *   checksOrigin: boolean, status: ServiceStatus | null, error: ApiError | null }} Session
 */
/** @type {import("./store.js").Store<Session>} */
export const session = createStore({
  phase: "out", client: null, cards: [], extended: false, checksOrigin: false, status: null, error: null,
});

export const ownServer = () => OWN;

/** @returns {Client} of whoever is signed in */
export function client() {
  const known = session.get().client;
  if (!known) throw new ApiError(401, { code: "invalid_api_key", message: "signed out" });
  return known;
}

/** @param {string} key @param {string} [server] */
export async function signIn(key, server = OWN) {
  const tried = new Client(server, key);
  session.set({ phase: "looking", error: null });
  try {
    const found = await look(tried);
    store(JSON.stringify({ key, server }));
    session.set({ phase: "in", client: tried, ...found });
  } catch (error) {
    session.set({ phase: "out", error: asError(error) });
  }
}

/** @param {ApiError | null} [error] why, when it wasn't asked for */
export function signOut(error = null) {
  store(null);
  session.set({ phase: "out", client: null, cards: [], status: null, error });
}

/** Go on with the session of this tab, or with the link that opened it. */
export async function resume() {
  const linked = fromLink();
  if (linked?.once) return redeem(linked.once);
  const { key, server } = linked ?? JSON.parse(stored() ?? "{}");
  if (key) await signIn(key, server);
}

/** @param {string} once a secret that signs in one time */
async function redeem(once) {
  session.set({ phase: "looking", error: null });
  try {
    await signIn((await new Client(OWN, once).redeem()).secret);
  } catch (error) {
    session.set({ phase: "out", error: asError(error) });
  }
}

/** Ask the server again: its queue and its limits, and models that came since. */
export async function refreshServer() {
  const { client: known, phase } = session.get();
  if (!known || phase !== "in") return;
  const found = await look(known);
  if (session.get().client === known) session.set(found);
}

/** @param {Client} asked */
async function look(asked) {
  const status = await orNull(asked.status());
  const cards = await orNull(asked.cards());
  if (cards) return { cards: cards.data, extended: true, checksOrigin: session.get().client === asked ? session.get().checksOrigin : true, status };
  const models = await asked.models(); // a server that speaks the Videos API alone
  return { cards: models.data.map(plainCard), extended: false, checksOrigin: false, status };
}

/** @template T @param {Promise<T>} answer @returns {Promise<T | null>} null where the server has no such call */
async function orNull(answer) {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && [404, 405, 400].includes(error.status)) return null;
    throw error;
  }
}

/** @param {{ id: string }} model @returns {ModelCard} what may be assumed of a server that doesn't say */
function plainCard({ id }) {
  return {
    id, inputs: ["text", "image"], edits: [], characters: false, fps: 24, size_multiple: 16, frame_multiple: 4,
    patch: [1, 2, 2], usual_tokens: 0, max_tokens: 0, max_side_tokens: 0, token_budget: 0, default_size: "1280x720",
    default_num_frames: 97, default_num_inference_steps: 0, default_guidance_scale: 0,
  };
}

/** Whether the address is a link that signs in. */
export const hasKey = () => Object.values(inAddress()).some(Boolean);

/** What a link brings: a key, or a secret that is changed for one once. */
function inAddress() {
  const values = new URLSearchParams(location.hash.replace(/^#\/?\??/, ""));
  return { key: values.get("key"), once: values.get("once") };
}

/** @returns {{ key: string | null, once: string | null, server: string } | null} */
function fromLink() {
  if (!hasKey()) return null;
  const brought = inAddress();
  history.replaceState(null, "", location.pathname + "#/"); // the address bar and the history forget it
  return { ...brought, server: OWN };
}

const stored = () => {
  try {
    return sessionStorage.getItem(PLACE);
  } catch {
    return null;
  }
};

/** @param {string | null} value */
function store(value) {
  try {
    if (value === null) sessionStorage.removeItem(PLACE);
    else sessionStorage.setItem(PLACE, value);
  } catch {
    // without storage a reload asks for the key again
  }
}

/** @param {unknown} error */
function asError(error) {
  return error instanceof ApiError ? error : new ApiError(0, { message: String(error), code: "unreachable" });
}
