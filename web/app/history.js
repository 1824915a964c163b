// What the charts show: one sample for each `processes` event, from the figures of all processes together. Nothing is timed here.

/** @import { Figures, Processes } from './types.js' */

/**
 * @typedef {{ at: number, hitRate: number | null, p50: number | null, p99: number | null, reads: number | null, changes: number | null,
 *             commitP50: number | null, commitP99: number | null, freshness: number | null, saved: number | null }} Sample
 */

/** How many samples are kept: three minutes. */
export const SAMPLES_MAX = 180;

/** Two samples further apart than this, in s, are not joined by a line. */
const GAP = 3.5;

/**
 * Adds what an event says; a gap where some were missed.
 * @param {Sample[]} samples
 * @param {Processes} event
 */
export function add(samples, event) {
  const next = sample(event);
  const last = samples.at(-1);
  const missed = last && next.at - last.at > GAP ? [empty((last.at + next.at) / 2)] : [];
  return [...samples, ...missed, next].slice(-SAMPLES_MAX);
}

/**
 * @param {Processes} event
 * @returns {Sample}
 */
export function sample({ at_us, processes }) {
  const of = (/** @type {(figures: Figures) => number | null | undefined} */ pick) =>
    processes.flatMap(({ figures }) => (figures ? [pick(figures)] : [])).filter((number) => number !== null && number !== undefined);
  const hits = sum(of(({ reads }) => reads?.hits_per_s));
  const misses = sum(of(({ reads }) => reads?.misses_per_s));
  const all = (hits ?? 0) + (misses ?? 0);
  return {
    at: at_us / 1e6,
    hitRate: all > 0 ? (100 * (hits ?? 0)) / all : null,
    p50: largest(of(({ requests }) => requests?.p50_ms)),
    p99: largest(of(({ requests }) => requests?.p99_ms)),
    reads: hits === null ? null : all,
    changes: sum(of(({ changes }) => changes?.per_s)),
    commitP50: largest(of(({ changes }) => changes?.p50_ms)),
    commitP99: largest(of(({ changes }) => changes?.p99_ms)),
    freshness: largest(of(({ freshness_ms }) => freshness_ms)),
    saved: hits,
  };
}

/**
 * All hits so far: each is a query that Postgres was saved.
 * @param {Processes['processes']} processes
 */
export const savedInAll = (processes) => sum(processes.flatMap(({ figures }) => figures?.reads?.hits ?? []));

/** @param {number} at @returns {Sample} */
const empty = (at) => ({
  at, hitRate: null, p50: null, p99: null, reads: null, changes: null, commitP50: null, commitP99: null, freshness: null, saved: null,
});

/** @param {number[]} numbers */
const sum = (numbers) => (numbers.length ? numbers.reduce((all, one) => all + one, 0) : null);

/** @param {number[]} numbers */
const largest = (numbers) => (numbers.length ? Math.max(...numbers) : null);
