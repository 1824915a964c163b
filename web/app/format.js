// Numbers and times, for people. Nothing is measured here.

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/**
 * A count, such as 12,345.
 * @param {number} count
 */
export const count = (count) => WHOLE.format(count);

/**
 * A number with about three digits that count.
 * @param {number} number
 */
export function short(number) {
  if (number >= 100 || Number.isInteger(number)) return WHOLE.format(number);
  return number.toFixed(number >= 10 ? 1 : 2);
}

/**
 * A length of time in ms.
 * @param {number | null | undefined} ms
 */
export function millis(ms) {
  if (ms === null || ms === undefined) return '–';
  const size = Math.abs(ms);
  if (size >= 7_200_000) return `${short(ms / 3_600_000)} h`;
  if (size >= 120_000) return `${short(ms / 60_000)} min`;
  if (size >= 2000) return `${short(ms / 1000)} s`;
  return `${size < 0.01 && size > 0 ? '<0.01' : short(ms)} ms`;
}

/**
 * A length of time in µs.
 * @param {number} us
 */
export const micros = (us) => (us < 1000 ? `${us} µs` : millis(us / 1000));

/**
 * A length of memory.
 * @param {number} bytes
 */
export function bytes(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit += 1) bytes /= 1024;
  return `${short(bytes)} ${units[unit]}`;
}

/**
 * A moment that some clock told, in ms since 1970, as a time of day with ms.
 * @param {number} ms
 */
export function clock(ms) {
  const at = new Date(ms);
  const two = (/** @type {number} */ part) => String(part).padStart(2, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

/**
 * As much of an id as tells it from its neighbours. The ids of products begin with a time, and end with what is random.
 * @param {string} id
 */
export const shortId = (id) => (id.length > 12 ? id.slice(-6) : id);

/**
 * As much of a key as fits into a row: a UUID in it is cut.
 * @param {string} key
 */
export const shortKey = (key) => key.replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{14}([0-9a-f]{8})/g, '…$1');
