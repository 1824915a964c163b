// How everything is, as /health tells it: asked every two seconds while the page is looked at.

import { Unreached, ask } from './http.js';
import { store } from './store.js';

/** @import { Health } from './types.js' */

/** How often is asked, in ms. */
const EVERY_MS = 2000;

/** `away` where the replica that served this page does not answer; null before the first answer. */
export const health = store(/** @type {Health | 'away' | null} */ (null));

/** Asks now, and from now on. */
export async function follow() {
  for (;;) {
    if (document.visibilityState === 'visible') await look();
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

/** Asks now. */
export async function look() {
  try {
    health.set(/** @type {Health} */ ((await ask('/health')).body));
  } catch (error) {
    // A 503 says that Redis and Postgres are both away, in the same words as a 200.
    if (error instanceof Unreached) health.set('away');
    else health.set(down());
  }
}

/** @returns {Health} */
const down = () => ({
  status: 'down', redis: { status: 'down', latency_ms: null }, postgres: { status: 'down' },
  invalidator: { status: 'unknown', processes: 0, source: null, freshness_ms: null },
});
