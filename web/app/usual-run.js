// One run of the demonstration, as the demo process streams it: pieces of ndjson, put together into rounds of two strips.

/**
 * @typedef {{ at: number, way: 'usual' | 'freshline', value: string, source: string, is_stale: boolean, stale_ms: number | null }} Read
 * @typedef {{ at: number, phase: string, price: string | null }} Phase
 * @typedef {{ number: number, from: number, to: number, reads: Read[], phases: Phase[] }} Round
 * @typedef {{ reads: number, stale: number, longest_stale_ms: number | null }} Total
 * @typedef {{ rounds: Round[], totals: { usual: Total, freshline: Total } | null }} Run
 */

/** @type {Run} */
export const EMPTY = { rounds: [], totals: null };

/**
 * Adds an event.
 * @param {Run} run
 * @param {any} event
 * @returns {Run}
 */
export function add(run, event) {
  if (event.event === 'failed') throw new Error(`It could not be brought to its end: ${event.detail}`);
  if (event.event === 'end') return { ...run, totals: { usual: event.usual, freshline: event.freshline } };
  const at = event.at_us / 1000;
  const number = Math.max(event.round, 1); // reads before the first change are shown with it
  const known = run.rounds.find((round) => round.number === number);
  const round = known ?? { number, from: at, to: at, reads: [], phases: [] };
  const grown = { ...round, from: Math.min(round.from, at), to: Math.max(round.to, at) };
  const next = event.event === 'phase'
    ? { ...grown, phases: [...round.phases, { at, phase: event.phase, price: event.price ?? null }] }
    : { ...grown, reads: [...round.reads, { at, way: event.way, value: event.value, source: event.source, is_stale: event.is_stale, stale_ms: event.stale_ms }] };
  return { ...run, rounds: known ? run.rounds.map((one) => (one === known ? next : one)) : [...run.rounds, next] };
}

/**
 * What has been counted so far, or in the end.
 * @param {Run} run
 * @param {'usual' | 'freshline'} way
 * @returns {Total}
 */
export function total(run, way) {
  if (run.totals) return run.totals[way];
  const reads = run.rounds.flatMap((round) => round.reads).filter((read) => read.way === way);
  const stale = reads.filter((read) => read.is_stale);
  return { reads: reads.length, stale: stale.length, longest_stale_ms: stale.length ? Math.max(...stale.map(({ stale_ms }) => stale_ms ?? 0)) : null };
}

/**
 * The events of a streamed answer, in batches as they come.
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @returns {AsyncGenerator<any[]>}
 */
export async function* events(body) {
  let rest = '';
  for (const pieces = body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
    const { done, value } = await pieces.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = lines.pop() ?? '';
    const batch = lines.filter((line) => line.trim()).map((line) => JSON.parse(line));
    if (batch.length) yield batch;
  }
}
