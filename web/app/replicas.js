// Through which replica is read: the one that served this page, or another that the registry names.

import { fleet } from './fleet.js';
import { store } from './store.js';

/** @typedef {{ base: string, label: string, cannot: string | null }} Choice */

/** The base of the URLs that reads go to; empty for the replica that served this page. */
export const through = store('');

/** Hosts that this page may ask: its policy allows no other. */
const LOOPBACK = /^(127\.0\.0\.1|localhost):\d+$/;

/** @returns {Choice[]} */
export function choices() {
  const own = { base: '', label: `${location.host} (this page)`, cannot: null };
  const members = fleet.get()?.members.filter(({ role, address }) => role === 'api' && address !== location.host) ?? [];
  const others = members.flatMap(({ address }) => (address ? [choice(address)] : []));
  return [own, ...others];
}

/** @param {string} address @returns {Choice} */
function choice(address) {
  const cannot = LOOPBACK.test(address) ? null : 'it is on another machine, which this page may not ask';
  return { base: `http://${address}`, label: address, cannot };
}
