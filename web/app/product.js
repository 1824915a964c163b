// The product that is looked up: what the last read of it answered, and how that came about.

import { Refused, Unreached, ask, words } from './http.js';
import { through } from './replicas.js';
import { store } from './store.js';

/** @import { Explanation, Product } from './types.js' */

/**
 * What a read answered. `tookMs` is what the replica took for all of it, by its clock (Server-Timing); null where it does not say.
 * @typedef {{ product: Product | null, explanation: Explanation, cacheStatus: string, tookMs: number | null }} Reading
 * @typedef {{ id: string, isReading: boolean, reading: Reading | null, failure: string | null }} Look
 */

/** What is looked at; null before the first look. */
export const look = store(/** @type {Look | null} */ (null));

/** The key of a product in the cache. @param {string} id */
export const keyOf = (id) => `products:${id}`;

/**
 * Looks a product up, through the replica that is chosen.
 * @param {string} id
 * @returns {Promise<Reading | null>} null where there was no answer, or another product is looked at by now
 */
export async function lookUp(id) {
  const before = look.get();
  const same = before?.id === id ? before : null;
  look.set({ id, isReading: true, reading: same?.reading ?? null, failure: same?.failure ?? null });
  try {
    const reading = await read(through.get(), id);
    return done(id, { reading, failure: null }) ? reading : null;
  } catch (error) {
    done(id, { reading: null, failure: explained(error) });
    return null;
  }
}

/** @param {string} id @param {Pick<Look, 'reading' | 'failure'>} outcome */
function done(id, outcome) {
  if (look.get()?.id !== id) return false;
  look.set({ id, isReading: false, ...outcome });
  return true;
}

/**
 * @param {string} base
 * @param {string} id
 * @returns {Promise<Reading>}
 */
async function read(base, id) {
  try {
    const { body, headers } = await ask(`${base}/products/${encodeURIComponent(id)}?explain=true`);
    const { product, explanation } = /** @type {{ product: Product, explanation: Explanation }} */ (body);
    const took = /dur=([\d.]+)/.exec(headers.get('server-timing') ?? '')?.[1];
    return { product, explanation, cacheStatus: headers.get('cache-status') ?? '', tookMs: took ? Number(took) : null };
  } catch (error) {
    const absent = error instanceof Refused && error.problem.status === 404 ? error.problem : null;
    const explanation = /** @type {{ explanation?: Explanation } | null} */ (absent)?.explanation;
    if (explanation) return { product: null, explanation, cacheStatus: '', tookMs: null };
    throw error;
  }
}

/** @param {unknown} error */
function explained(error) {
  if (error instanceof Unreached && through.get()) {
    return `${words(error)} If ${through.get()} runs, it may not allow this page to ask: FRESHLINE_API_CORS_ORIGINS has to name ${location.origin}.`;
  }
  return words(error);
}
