// The token of those who may manage: asked for when a call is refused, kept for this tab alone.

import { store } from './store.js';

const KEPT_AS = 'freshline-token';

/** The token; empty where none was given. */
export const token = store(sessionStorage.getItem(KEPT_AS) ?? '');

/** What was said when a call was refused for want of it; null while none is asked for. */
export const asked = store(/** @type {string | null} */ (null));

/**
 * Takes a token that somebody typed.
 * @param {string} text
 */
export function give(text) {
  sessionStorage.setItem(KEPT_AS, text);
  asked.set(null);
  token.set(text);
}

/** @returns {Record<string, string>} */
export const authorization = () => (token.get() ? { authorization: `Bearer ${token.get()}` } : {});
