// A value that views watch. Everything that outlives a view is in one of these.
import { useLayoutEffect, useRef, useState } from "../vendor/preact-htm.js";

/**
 * @template T
 * @typedef {{ get: () => T, set: (change: Partial<T> | ((value: T) => T)) => void, watch: (seen: () => void) => () => void }} Store
 */

/**
 * @template {object} T
 * @param {T} initial
 * @returns {Store<T>}
 */
export function createStore(initial) {
  let value = initial;
  /** @type {Set<() => void>} */
  const watchers = new Set();
  return {
    get: () => value,
    set(change) {
      value = typeof change === "function" ? change(value) : { ...value, ...change };
      for (const seen of [...watchers]) seen();
    },
    watch(seen) {
      watchers.add(seen);
      return () => watchers.delete(seen);
    },
  };
}

/**
 * What a store holds, or the part of it that is selected; the view is drawn again when that part is another.
 * @template T, S
 * @param {Store<T>} store
 * @param {(value: T) => S} [select]
 * @returns {S}
 */
export function useStore(store, select = (value) => /** @type {any} */ (value)) {
  const [, redraw] = useState(0);
  const selected = select(store.get());
  const last = useRef({ select, selected });
  last.current = { select, selected };
  useLayoutEffect(() => {
    const look = () => {
      if (last.current.select(store.get()) !== last.current.selected) redraw((count) => count + 1);
    };
    look(); // what changed between the drawing and now
    return store.watch(look);
  }, [store]);
  return selected;
}
