// The changes of the product that is looked up: what is told of each, and the read that follows it.

import { keyOf, look, lookUp } from './product.js';
import { store } from './store.js';
import { begun, told } from './timeline.js';

/** @import { Change } from './timeline.js' */
/** @import { Done, SqlWrite, Write } from './types.js' */

/** How many changes are kept. */
const CHANGES_MAX = 6;

/** How many transactions' tags are kept, of which no change of the product has been heard yet. */
const UNCLAIMED_MAX = 200;

/** Newest first. */
export const changes = store(/** @type {Change[]} */ ([]));

/** What was heard of transactions, in case one of them turns out to be of the product. */
const unclaimed = /** @type {Map<string, Done[]>} */ (new Map());

look.watch((now) => {
  if (now && !changes.get().every(({ effect }) => !effect || effect.name === keyOf(now.id))) changes.set([]);
});

/**
 * Takes what a writer was answered.
 * @param {Write | SqlWrite} write
 */
export function takeWrite(write) {
  change(String(write.xid), (known) => ({ ...known, write }));
}

/**
 * Takes an event of the feed.
 * @param {Done} done
 */
export function takeDone(done) {
  const now = look.get();
  if (!now || done.xid === null) return;
  const [xid, key] = [String(done.xid), keyOf(now.id)];
  const isKnown = changes.get().some((known) => known.xid === xid);
  if (!isKnown && done.name !== key) return keep(xid, done);
  const earlier = unclaimed.get(xid) ?? [];
  unclaimed.delete(xid);
  change(xid, (known) => [...earlier, done].reduce((all, one) => told(all, one, key), known));
  if (done.name === key) void readAfter(now.id, xid);
}

/** @param {string} xid @param {Done} done */
function keep(xid, done) {
  unclaimed.set(xid, [...(unclaimed.get(xid) ?? []), done]);
  if (unclaimed.size > UNCLAIMED_MAX) unclaimed.delete(unclaimed.keys().next().value ?? '');
}

/** @param {string} xid @param {(known: Change) => Change} add */
function change(xid, add) {
  changes.update((before) => {
    const known = before.find((one) => one.xid === xid);
    if (known) return before.map((one) => (one === known ? add(one) : one));
    return [add(begun(xid)), ...before].slice(0, CHANGES_MAX);
  });
}

/** The change after which is to be read once the read under way is over. */
let next = /** @type {string | null} */ (null);
let isReading = false;

/**
 * Reads the product anew, one read at a time: what is shown follows the changes, and each has the first read after it.
 * @param {string} id
 * @param {string} xid
 */
async function readAfter(id, xid) {
  next = xid;
  if (isReading) return;
  isReading = true;
  while (next !== null && look.get()?.id === id) {
    const after = next;
    next = null;
    const reading = await lookUp(id);
    if (!reading) continue;
    const { explanation, product } = reading;
    // A read that Postgres answered while the change was still invisible is followed by the one that sees it.
    change(after, (known) => (known.read?.explanation.origin === 'redis' ? known : { ...known, read: { explanation, product } }));
  }
  isReading = false;
}
