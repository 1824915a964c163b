// A value that parts of the page watch. What is not shown by one part alone lies in one of these.

import { useEffect, useState } from './ui.js';

/**
 * @template T
 * @typedef {{ get(): T, set(next: T): void, update(change: (before: T) => T): void, watch(hear: (now: T) => void): () => void }} Store
 */

/**
 * @template T
 * @param {T} initial
 * @returns {Store<T>}
 */
export function store(initial) {
  let value = initial;
  /** @type {Set<(now: T) => void>} */
  const ears = new Set();
  const set = (/** @type {T} */ next) => {
    if (Object.is(next, value)) return;
    value = next;
    for (const hear of [...ears]) hear(value);
  };
  return {
    get: () => value,
    set,
    update: (change) => set(change(value)),
    watch(hear) {
      ears.add(hear);
      return () => ears.delete(hear);
    },
  };
}

/**
 * The value, for a component, which is drawn again when it changes.
 * @template T
 * @param {Store<T>} watched
 * @returns {T}
 */
export function useStore(watched) {
  const [, draw] = useState({});
  useEffect(() => watched.watch(() => draw({})), [watched]);
  return watched.get();
}
