// Asking a process over HTTP: an answer, a refusal in its own words, or that it cannot be reached.

import { asked, authorization } from './token.js';

/** @import { Problem } from './types.js' */

/** How long an answer may take, in ms: longer than any deadline of the processes. */
const WITHIN_MS = 20_000;

/** An answer of 400 or above. */
export class Refused extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

/** No answer at all. */
export class Unreached extends Error {}

/**
 * @template T
 * @typedef {{ body: T, headers: Headers, status: number }} Answer
 */

/**
 * Asks, and reads the JSON that comes. `manages` shows the token of those who may manage; it is shown to this server alone.
 * @template T
 * @param {string} url
 * @param {{ method?: string, body?: string, manages?: boolean }} [how]
 * @returns {Promise<Answer<T>>}
 * @throws {Refused | Unreached}
 */
export async function ask(url, { method = 'GET', body, manages = false } = {}) {
  const headers = { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...(manages ? authorization() : {}) };
  /** @type {Response} */
  let response;
  try {
    response = await fetch(url, { method, headers, body, cache: 'no-store', signal: AbortSignal.timeout(WITHIN_MS) });
  } catch (error) {
    const silent = error instanceof DOMException && error.name === 'TimeoutError';
    throw new Unreached(silent ? `It did not answer within ${WITHIN_MS / 1000} s.` : 'It cannot be reached from this page.');
  }
  if (!response.ok) throw new Refused(await problem(response));
  return { body: response.status === 204 ? null : await response.json(), headers: response.headers, status: response.status };
}

/**
 * What a refusal says; a 401 also has the page ask for the token.
 * @param {Response} response
 * @returns {Promise<Problem>}
 */
export async function problem(response) {
  const told = await response.json().catch(() => null);
  const problem = told?.title ? told : { title: `It answered ${response.status}`, status: response.status };
  if (response.status === 401) asked.set(problem.errors?.[0]?.detail ?? problem.title);
  return problem;
}

/**
 * What went wrong, in a sentence or two.
 * @param {unknown} error
 */
export function words(error) {
  if (!(error instanceof Refused)) return error instanceof Error ? error.message : String(error);
  const { title, detail, errors } = error.problem;
  const faults = (errors ?? []).map((fault) => [fault.detail, fault.remedy].filter(Boolean).join(' '));
  return [`${title}.`, ...(faults.length ? faults : [detail ?? ''])].join(' ').trim();
}
