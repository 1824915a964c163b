// Why a value was served or not, in plain words, from the rule that an explanation names.

import { micros } from './format.js';

/** @import { Explanation } from './types.js' */

/** What kept the cache from serving a value. */
const REFUSED = /** @type {Record<string, string>} */ ({
  missing: 'Nothing was cached under this key',
  closed: 'The cache is closed: until an invalidator opens it, nothing in it is trusted',
  'other-run': 'Redis was started anew since the cache was opened, so nothing in it is trusted',
  garbled: 'What lies under the key is no entry of this version',
  'other-generation': 'The cache was cleared or opened anew since the entry was put there',
  'tag-changed': 'Something that the entry depends on has changed',
  unproven: 'Nothing proved the entry to be young enough',
  'not-own': 'The entry does not include the write that was asked for',
  unreachable: 'Redis cannot be reached',
});

/** What became of the value that was read from Postgres instead. */
const FILLED = /** @type {Record<string, string>} */ ({
  filled: 'It was read from Postgres, and is cached now.',
  old: 'It was read from Postgres and not cached: a change has been applied that this reading may lack.',
  lost: 'It was read from Postgres and not cached: the lease was gone by then, because a change came in between or it took too long.',
  closed: 'It was read from Postgres and not cached, for the cache is closed.',
  busy: 'It was read from Postgres; somebody else was filling the key.',
  raced: 'It was read from Postgres; somebody else had filled the key meanwhile.',
  'no-source': 'It was read from Postgres and not cached: that session is not known to be on the primary.',
  unfit: 'It was read from Postgres and not cached: it does not fit.',
  unreachable: 'It was read from Postgres and not cached, for Redis did not answer.',
});

/**
 * Why, in a sentence or two.
 * @param {Explanation} explanation
 */
export function why({ origin, rule, refused_first_by, age_us, max_staleness_us, fill }) {
  const [age, bound] = [micros(age_us), micros(max_staleness_us)];
  if (origin === 'fallback') {
    return `Redis is away. This replica read the value itself ${age} ago, which is within the bound of ${bound}, and serves it from memory.`;
  }
  if (origin === 'redis') {
    const after = refused_first_by ? `${REFUSED[refused_first_by] ?? refused_first_by} at first; somebody else filled it meanwhile. ` : '';
    return rule === 'stream'
      ? `${after}The change stream proves it: nothing that was visible ${age} ago or earlier is missing from it.`
      : `${after}It was read from Postgres ${age} ago, which is within the bound of ${bound}.`;
  }
  const refused = refused_first_by ?? rule;
  return `${REFUSED[refused] ?? refused}. ${fill ? (FILLED[fill] ?? fill) : 'It was read from Postgres.'}`;
}

/**
 * Where a value came from, as a badge says it, and the colour's name.
 * @param {Explanation} explanation
 * @returns {{ word: string, where: string, tone: 'hit' | 'miss' | 'memory' | 'bypass' }}
 */
export function source({ origin, refused_first_by }) {
  if (origin === 'redis') return { word: 'Hit', where: 'from Redis', tone: 'hit' };
  if (origin === 'fallback') return { word: 'Fallback', where: 'from this replica’s memory', tone: 'memory' };
  const isBypass = ['closed', 'other-run', 'unreachable'].includes(refused_first_by ?? '');
  return { word: isBypass ? 'Bypass' : 'Miss', where: 'from Postgres', tone: isBypass ? 'bypass' : 'miss' };
}
