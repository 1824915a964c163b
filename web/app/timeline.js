// One change, followed: what each process said of it, put in order. Pure; every time is that of the clock that is named with it.

/** @import { Done, Explanation, Product, SqlWrite, Write } from './types.js' */

/**
 * The next read of the product after the change was applied.
 * @typedef {{ explanation: Explanation, product: Product | null }} NextRead
 *
 * A change, as far as it is known. `tags` are those that the same transaction touched.
 * @typedef {{ xid: string, by: string | null, write: (Write | SqlWrite) | null, effect: Done | null, visible: Done | null, tags: string[],
 *             read: NextRead | null }} Change
 *
 * @typedef {{ id: string, what: string, detail: string, at_us: number, process: string, clock: string }} Moment
 */

/** @param {string} xid @returns {Change} */
export const begun = (xid) => ({ xid, by: null, write: null, effect: null, visible: null, tags: [], read: null });

/**
 * What a transaction did, told by one more event.
 * @param {Change} change
 * @param {Done} done
 * @param {string} key the key that is followed
 * @returns {Change}
 */
export function told(change, done, key) {
  if (done.effect === 'tag') return change.tags.includes(done.name) ? change : { ...change, tags: [...change.tags, done.name] };
  if (done.name !== key) return change;
  if (done.effect === 'visible') return { ...change, visible: done };
  return { ...change, effect: done };
}

/**
 * The moments of a change, in the order of their times.
 * @param {Change} change
 * @param {(id: string | null | undefined) => string} nameOfId
 * @returns {Moment[]}
 */
export function moments({ write, effect, visible, tags, read }, nameOfId) {
  /** @type {Moment[]} */
  const found = [];
  const add = (/** @type {string} */ id, /** @type {string} */ what, /** @type {number | null | undefined} */ at_us,
    /** @type {string} */ process, /** @type {string} */ clock, detail = '') => {
    if (at_us) found.push({ id, what, detail, at_us, process, clock });
  };
  if (write) {
    const writer = nameOfId(write.process);
    add('began', 'Write begins', write.began_us, writer, 'its clock', 'statement' in write ? write.statement : 'PATCH, to Postgres alone');
    add('confirmed', 'COMMIT is confirmed to the writer', write.committed_us, writer, 'its clock', `transaction ${write.xid}, log up to ${write.end}`);
  }
  if (effect) {
    const invalidator = nameOfId(effect.by);
    add('commit', 'COMMIT is in the log', effect.committed_us, 'Postgres', 'its clock', `transaction ${effect.xid}`);
    add('received', 'The change is received', effect.received_us, invalidator, 'its clock', 'from the change stream, not from the writer');
    const what = effect.effect === 'replaced' ? 'The entry is replaced in Redis' : 'The entry is removed from Redis';
    add('applied', what, effect.applied_us, invalidator, 'its clock', lists(tags));
  }
  if (visible) {
    add('visible', 'It is seen to be visible', visible.applied_us, nameOfId(visible.by), 'its clock', 'a new snapshot of Postgres has it: the fence is dropped');
  }
  if (read) {
    const { explanation, product } = read;
    const value = product ? `${product.price}, ${product.stock_quantity} in stock` : 'there is no such product';
    const where = { redis: 'hit in Redis', fallback: 'from memory', postgres: 'from Postgres' }[explanation.origin];
    add('read', 'The next read', explanation.at_us, nameOfId(explanation.process), 'its clock', `${where}: ${value}`);
  }
  return found.sort((one, other) => one.at_us - other.at_us);
}

/** @param {string[]} tags */
function lists(tags) {
  if (tags.length === 0) return 'Redis has confirmed it';
  return `Redis has confirmed it; ${tags.length === 1 ? 'one tag has' : `${tags.length} tags have`} a new version, so lists are read anew`;
}

/**
 * The moment that the others are counted from: the commit, or the first that is known.
 * @param {Moment[]} moments
 */
export const zeroOf = (moments) => (moments.find(({ id }) => id === 'commit') ?? moments[0])?.at_us ?? 0;
