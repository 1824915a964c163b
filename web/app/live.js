// The live feed, GET /events: read as a stream, because an EventSource cannot show a token; taken up again where it broke off.

import { problem } from './http.js';
import { reader } from './sse.js';
import { store } from './store.js';
import { authorization, token } from './token.js';

/** @import { ServerEvent } from './sse.js' */
/** @typedef {{ state: 'connecting' | 'live' | 'lost' | 'refused', why: string, tries: number }} Line */

/** The first pause before another try, in ms; it doubles up to the longest. */
const PAUSE_MIN_MS = 500;
const PAUSE_MAX_MS = 10_000;

/** With `processes` something comes every second, and else a comment every few; after this long without, the connection is given up. */
const SILENT_MAX_MS = 20_000;

export class Feed {
  /** How the connection is. */
  line = store(/** @type {Line} */ ({ state: 'connecting', why: '', tries: 0 }));
  /** The last event that has an id: where to go on. */
  last = /** @type {string | null} */ (null);
  #stop = new AbortController();
  #wake = () => {};

  /**
   * @param {Record<string, string>} query
   * @param {(events: ServerEvent[]) => void} hear
   */
  constructor(query, hear) {
    this.url = `/events?${new URLSearchParams(query)}`;
    this.hear = hear;
  }

  /** Reads until `stop`. */
  async run() {
    const wake = () => this.retry();
    const unwatch = token.watch(wake);
    addEventListener('online', wake);
    let tries = 0;
    while (!this.#stop.signal.aborted) {
      const { line, isFresh, pause } = await this.#once();
      if (this.#stop.signal.aborted) break;
      tries = isFresh ? 1 : tries + 1;
      this.line.set({ ...line, tries });
      await this.#pause(line.state === 'refused' ? null : Math.max(pause, Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** (tries - 1))));
    }
    removeEventListener('online', wake);
    unwatch();
  }

  /** Ends it. */
  stop() {
    this.#stop.abort();
    this.#wake();
  }

  /** Tries again now, if it waits. */
  retry() {
    this.#wake();
  }

  /**
   * One connection, from its beginning to its end; whether anything came of it, and how long the server wants to be left alone.
   * @returns {Promise<{ line: Omit<Line, 'tries'>, isFresh: boolean, pause: number }>}
   */
  async #once() {
    const giveUp = new AbortController();
    const signal = AbortSignal.any([giveUp.signal, this.#stop.signal]);
    let watchdog = setTimeout(() => giveUp.abort(), SILENT_MAX_MS);
    let isFresh = false;
    try {
      const headers = { accept: 'text/event-stream', ...authorization(), ...(this.last ? { 'last-event-id': this.last } : {}) };
      const response = await fetch(this.url, { headers, cache: 'no-store', signal });
      if (!response.ok || !response.body) return await refusal(response);
      this.line.set({ state: 'live', why: '', tries: 0 });
      const read = reader();
      const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await pieces.read();
        if (done) return { line: { state: 'lost', why: 'the server ended the connection' }, isFresh, pause: 0 };
        isFresh = true;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => giveUp.abort(), SILENT_MAX_MS);
        this.#take(read(value));
      }
    } catch {
      const why = giveUp.signal.aborted ? 'nothing came for too long' : 'the connection broke';
      return { line: { state: 'lost', why }, isFresh, pause: 0 };
    } finally {
      clearTimeout(watchdog);
    }
  }

  /** @param {ServerEvent[]} events */
  #take(events) {
    if (events.length === 0) return;
    this.last = events.findLast((event) => event.id)?.id ?? this.last;
    this.hear(events);
  }

  /** @param {number | null} ms null: until somebody wants another try */
  async #pause(ms) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    await new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
      this.#wake = resolve;
      if (ms !== null) timer = setTimeout(resolve, ms * (0.8 + 0.4 * Math.random()));
    });
    clearTimeout(timer);
    this.#wake = () => {};
  }
}

/** @param {Response} response */
async function refusal(response) {
  const { title, detail } = await problem(response);
  const pause = Number(response.headers.get('retry-after') ?? 0) * 1000;
  // What will not get better by itself waits for a person: a token, or another filter.
  const state = response.status >= 500 || response.status === 429 ? /** @type {const} */ ('lost') : /** @type {const} */ ('refused');
  return { line: { state, why: [title, detail].filter(Boolean).join(': ') }, isFresh: false, pause };
}
