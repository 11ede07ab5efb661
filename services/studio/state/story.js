// A storyboard: cards at places in time, which become the pictures and the words of one request.
import { framesOf } from "./draft.js";
import { createStore } from "./store.js";

/** @typedef {import("../api/types.js").ModelCard} ModelCard */
/** @typedef {{ id: number, kind: "still" | "words", at: number, url: string, text: string }} Card ``at``: seconds */
/** @typedef {{ seconds: number, cards: Card[] }} Story */

/** @type {import("./store.js").Store<Story>} */
export const story = createStore({ seconds: 4, cards: /** @type {Card[]} */ ([]) });
let last = 0;

/** @param {Omit<Card, "id">} card */
export const addCard = (card) =>
  story.set((value) => ({ ...value, cards: inOrder([...value.cards, { ...card, id: ++last }]) }));

/** @param {number} id @param {Partial<Card>} change */
export const changeCard = (id, change) =>
  story.set((value) => ({ ...value, cards: inOrder(value.cards.map((card) => (card.id === id ? { ...card, ...change } : card))) }));

/** @param {number} id */
export const dropCard = (id) => story.set((value) => ({ ...value, cards: value.cards.filter((card) => card.id !== id) }));

/** @param {Card[]} cards */
const inOrder = (cards) => [...cards].sort((a, b) => a.at - b.at || a.id - b.id);

/** @param {Story} value where the next card fits: the middle of the largest gap */
export function freePlace(value) {
  const places = [...new Set(value.cards.map((card) => card.at))].sort((a, b) => a - b);
  if (!places.length || places[0] > 0.01) return 0;
  let best = { gap: value.seconds - (places.at(-1) ?? 0), at: value.seconds };
  for (let index = 1; index < places.length; index++) {
    const gap = places[index] - places[index - 1];
    if (gap / 2 > best.gap) best = { gap: gap / 2, at: places[index - 1] + gap / 2 };
  }
  return Math.round(best.at * 10) / 10;
}

/** @param {Story} value @param {ModelCard} card @returns {Record<string, any>} the request */
export function storyWish(value, card) {
  const frames = framesOf(value.seconds, card);
  const lastFrame = frames - 1;
  /** @type {Map<number, string>} a frame has one picture: the card that came to it last */
  const pictures = new Map();
  for (const one of value.cards)
    if (one.kind === "still") pictures.set(Math.max(0, Math.min(lastFrame, Math.round(one.at * card.fps))), one.url);
  const words = value.cards.filter((one) => one.text.trim()).map((one) => one.text.trim().replace(/[.;,\s]+$/, ""));
  return {
    prompt: words.join(", then "),
    model: card.id,
    num_frames: frames,
    frame_images: [...pictures].map(([index, image_url]) =>
      index === 0 ? { frame_type: "first_frame", image_url } : index === lastFrame ? { frame_type: "last_frame", image_url } : { index, image_url },
    ),
  };
}
