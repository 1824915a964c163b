// What was done, newest first, from the `done` and `lost` events: kept up to a bound, and drawn no more often than the screen is.

import { store } from './store.js';

/** @import { ServerEvent } from './sse.js' */
/** @import { Done } from './types.js' */
/** @typedef {{ kind: 'done', done: Done } | { kind: 'lost', count: number | null, n: number }} Line */

/** How many lines are kept. */
const LINES_MAX = 200;

export class Trail {
  lines = store(/** @type {Line[]} */ ([]));
  #pending = /** @type {Line[]} */ ([]);
  #lost = 0;

  /** @param {ServerEvent[]} events */
  take(events) {
    for (const { event, data } of events) {
      if (event === 'done') this.#pending.push({ kind: 'done', done: JSON.parse(data) });
      if (event === 'lost') this.#pending.push({ kind: 'lost', count: JSON.parse(data).count, n: (this.#lost += 1) });
    }
    if (this.#pending.length === 0) return;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    if (this.#pending.length === 0) return;
    const fresh = this.#pending.splice(0).reverse();
    this.lines.update((before) => [...fresh, ...before].slice(0, LINES_MAX));
  }
}
