// Which processes run and what they say of themselves, from the `processes` events.

import { add } from './history.js';
import { store } from './store.js';

/** @import { Sample } from './history.js' */
/** @import { Process, Processes } from './types.js' */

/**
 * A process, and for how long its figures have not been renewed, by the clock of the replica that tells it.
 * @typedef {Process & { silent_ms: number }} Member
 * @typedef {{ at_us: number, members: Member[], samples: Sample[], unseen: string | null }} Fleet
 */

/** A record is renewed every second; one that was not for this long is of a process that hangs or died, in ms. */
export const SILENT_FROM_MS = 3500;

/** What is known; null before the first event. */
export const fleet = store(/** @type {Fleet | null} */ (null));

/** When the figures of a process were first seen as they are, by the clock of the replica that tells them, in µs. */
const renewed = /** @type {Map<string, { figures_at: number, seen_at: number }>} */ (new Map());

/**
 * Takes an event.
 * @param {Processes} event
 */
export function takeProcesses(event) {
  const members = event.processes.map((process) => ({ ...process, silent_ms: silence(process, event.at_us) }));
  for (const id of renewed.keys()) if (!members.some((member) => member.id === id)) renewed.delete(id);
  fleet.update((before) => ({ at_us: event.at_us, members, samples: add(before?.samples ?? [], event), unseen: null }));
}

/**
 * Takes that the registry could not be looked at: what was known stands still.
 * @param {{ at_us: number, why: string }} event
 */
export function takeUnseen({ at_us, why }) {
  fleet.update((before) => ({ at_us, members: before?.members ?? [], samples: before?.samples ?? [], unseen: why }));
}

/**
 * @param {Process} process
 * @param {number} now_us
 */
function silence({ id, figures }, now_us) {
  const known = renewed.get(id);
  const figures_at = figures?.at_us ?? 0;
  if (known?.figures_at === figures_at) return Math.max(0, (now_us - known.seen_at) / 1000);
  renewed.set(id, { figures_at, seen_at: now_us });
  return 0;
}

/**
 * The state of a process, in a word.
 * @param {Member} member
 * @returns {'ready' | 'not ready' | 'silent' | 'up'}
 */
export function stateOf({ silent_ms, figures }) {
  if (figures && silent_ms >= SILENT_FROM_MS) return 'silent';
  if (figures?.is_ready === undefined) return 'up';
  return figures.is_ready ? 'ready' : 'not ready';
}

/**
 * The name that people call it by: what it is, and where.
 * @param {{ role: string, address: string | null, admin_address: string | null, pid: number }} process
 */
export const nameOf = ({ role, address, admin_address, pid }) => `${role} ${address ?? admin_address ?? `pid ${pid}`}`;

/**
 * The name of the process with this id, as far as it is known.
 * @param {string | null | undefined} id
 */
export function nameOfId(id) {
  const member = fleet.get()?.members.find((one) => one.id === id);
  return member ? nameOf(member) : id ? `process ${id.slice(0, 8)}` : 'unknown';
}
