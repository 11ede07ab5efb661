// Where the page is: the part of the address after #. Links are plain links, so back and forward work.
import { createStore } from "./store.js";

/** @returns {{ view: string, id: string }} */
function here() {
  const [view = "", id = ""] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  return { view: view || "make", id };
}

export const route = createStore(here());

/** @param {string} view @param {string} [id] */
export const to = (view, id) => `#/${view}${id ? `/${encodeURIComponent(id)}` : ""}`;

/** @param {string} view @param {string} [id] */
export const go = (view, id) => {
  location.hash = to(view, id);
};

/** Take the address as it is now: signing in by a link changes it without an event. */
export const arrive = () => route.set(here());

export function followAddress() {
  arrive();
  addEventListener("hashchange", () => {
    arrive();
    scrollTo(0, 0);
  });
}
