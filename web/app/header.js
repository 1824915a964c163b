// The head of the page: what this is, and how everything is, at a glance.

import { fleet } from './fleet.js';
import { millis } from './format.js';
import { health } from './health.js';
import { useStore } from './store.js';
import { ThemeToggle } from './theme.js';
import { classes, html } from './ui.js';

/** @import { Feed } from './live.js' */
/** @typedef {{ name: string, word: string, tone: 'ok' | 'warn' | 'bad' | 'idle', title: string }} Signal */

/** @param {{ feed: Feed }} props */
export function Header({ feed }) {
  const [now, line] = [useStore(health), useStore(feed.line)];
  useStore(fleet);
  return html`
    <header class="top">
      <div class="what">
        <h1>Freshline</h1>
        <p>keeps a Redis cache in front of Postgres true, from Postgres’s own change stream. Change a row with whatever you like, and watch.</p>
      </div>
      <ul class="signals" aria-label="State">
        ${[liveSignal(line), ...signals(now)].map(
          ({ name, word, tone, title }) => html`
            <li class=${classes('signal', tone)} title=${title} data-signal=${name}>
              <span class="dot" aria-hidden="true"></span><span class="signal-name">${name}</span> <b>${word}</b>
            </li>`,
        )}
      </ul>
      <nav class="links" aria-label="More">
        <a href="/docs">API</a>
        <a href="/redoc">Reference</a>
        <${ThemeToggle} />
      </nav>
    </header>
  `;
}

/** @param {import('./live.js').Line} line @returns {Signal} */
function liveSignal({ state, why }) {
  const said = { live: 'connected', connecting: 'connecting', lost: 'disconnected', refused: 'refused' }[state];
  const tone = state === 'live' ? 'ok' : state === 'connecting' ? 'idle' : 'bad';
  return { name: 'Live feed', word: said, tone, title: why || 'Server-sent events of GET /events' };
}

/** @param {import('./types.js').Health | 'away' | null} now @returns {Signal[]} */
function signals(now) {
  if (now === null || now === 'away') {
    const word = now ? 'unknown' : '…';
    return ['Redis', 'Postgres', 'Invalidator'].map((name) => ({ name, word, tone: 'idle', title: 'Not known yet' }));
  }
  const { redis, postgres, invalidator } = now;
  const fresh = invalidator.freshness_ms === null ? '' : `; nothing visible longer ago than ${millis(invalidator.freshness_ms)} is missing`;
  return [
    { name: 'Redis', word: redis.status, tone: tone(redis.status), title: redis.latency_ms === null ? 'It does not answer' : `It answered in ${millis(redis.latency_ms)}` },
    { name: 'Postgres', word: postgres.status, tone: tone(postgres.status), title: 'As it last answered this replica' },
    { name: 'Invalidator', word: invalidator.status, tone: tone(invalidator.status), title: `${invalidator.processes} registered${fresh}` },
  ];
}

/** @param {string} status @returns {Signal['tone']} */
function tone(status) {
  if (status === 'up') return 'ok';
  if (status === 'behind') return 'warn';
  return status === 'unknown' ? 'idle' : 'bad';
}
