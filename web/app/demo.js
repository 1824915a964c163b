// The demo process: plain SQL, and the usual way. It is not part of Freshline, and mostly not there.

import { fleet } from './fleet.js';
import { ask, words } from './http.js';
import { store } from './store.js';

/** @typedef {{ sql: boolean, usual: boolean, holds_commits: boolean, why_not: string | null }} Offer */
/** @typedef {{ base: string, offer: Offer | null, why: string | null }} Demo */

/** What it offers; null where no demo process is registered. */
export const demo = store(/** @type {Demo | null} */ (null));

fleet.watch((now) => {
  const address = now?.members.find((member) => member.role === 'demo')?.address;
  const base = address ? `http://${address}` : null;
  if (base === (demo.get()?.base ?? null)) return;
  demo.set(base ? { base, offer: null, why: 'asking it what it offers' } : null);
  if (base) void meet(base);
});

/** @param {string} base */
async function meet(base) {
  const known = await ask(`${base}/`).then(
    ({ body }) => ({ base, offer: /** @type {Offer} */ (body), why: null }),
    (error) => ({ base, offer: null, why: `the demo process at ${base} does not answer: ${words(error)}` }),
  );
  if (demo.get()?.base === base) demo.set(known);
}

/**
 * Why something of the demo process cannot be used now; null where it can.
 * @param {Demo | null} known
 * @param {'sql' | 'usual'} what
 */
export function whyNot(known, what) {
  if (!known) return 'It needs the demo process, which is not running.';
  if (!known.offer) return `Not now: ${known.why}.`;
  return known.offer[what] ? null : `The demo process cannot: ${known.offer.why_not ?? 'it does not say why'}.`;
}
