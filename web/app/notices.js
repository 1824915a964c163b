// What is not as it should be, and what that means for readers: each state in a sentence, with what to do where there is something.

import { SILENT_FROM_MS, fleet, nameOf, stateOf } from './fleet.js';
import { millis } from './format.js';
import { health } from './health.js';
import { useStore } from './store.js';
import { html } from './ui.js';

/** @import { Health } from './types.js' */
/** @import { Fleet } from './fleet.js' */
/** @import { Feed, Line } from './live.js' */
/** @typedef {{ id: string, tone: 'bad' | 'warn', title: string, text: string, retry?: boolean }} Notice */

/** @param {{ feed: Feed }} props */
export function Notices({ feed }) {
  const [now, line, known] = [useStore(health), useStore(feed.line), useStore(fleet)];
  const all = [...ofLine(line), ...ofHealth(now), ...ofFleet(known)];
  return html`
    <div class="notices" role="status" aria-live="polite">
      ${all.map(
        ({ id, tone, title, text, retry }) => html`
          <div key=${id} class=${`notice ${tone}`} data-notice=${id}>
            <p><b>${title}</b> ${text}</p>
            ${retry && html`<button type="button" onClick=${() => feed.retry()}>Try now</button>`}
          </div>`,
      )}
    </div>
  `;
}

/** @param {Line} line @returns {Notice[]} */
function ofLine({ state, why, tries }) {
  if (state === 'live' || state === 'connecting') return [];
  const text = state === 'refused'
    ? `${capital(why)}.`
    : `${capital(why)}. What is live below stands still; it is tried again by itself (${tries === 1 ? 'once' : `${tries} times`} so far) and goes on where it broke off.`;
  return [{ id: 'live', tone: 'bad', title: 'The live feed is disconnected.', text, retry: true }];
}

/** @param {Health | 'away' | null} now @returns {Notice[]} */
function ofHealth(now) {
  if (now === null) return [];
  if (now === 'away') {
    return [{ id: 'api', tone: 'bad', title: 'The API does not answer.', text: 'The replica that served this page cannot be reached. The page goes on when it is back.' }];
  }
  /** @type {Notice[]} */
  const found = [];
  const [redis, postgres] = [now.redis.status === 'up', now.postgres.status === 'up'];
  if (!redis && !postgres) {
    found.push({ id: 'down', tone: 'bad', title: 'Redis and Postgres are away.', text: 'Nothing can be read but what this replica keeps in memory, for as long as the bound.' });
  } else if (!redis) {
    found.push({ id: 'redis', tone: 'warn', title: 'Redis is away.', text: 'Reads go to Postgres, or to what this replica itself has read within the bound. Nothing stale is served; there is no cache.' });
  } else if (!postgres) {
    found.push({ id: 'postgres', tone: 'warn', title: 'Postgres is away.', text: 'What is cached is served until it is as old as the bound; then reads fail, and so do writes.' });
  }
  const { status } = now.invalidator;
  if (status === 'away') {
    found.push({ id: 'invalidator', tone: 'bad', title: 'No invalidator runs.', text: 'Changes are not applied. Reads stay within the bound: each entry is served until it is as old as that, and then read anew.' });
  } else if (status === 'behind') {
    found.push({ id: 'invalidator', tone: 'warn', title: 'The invalidator is behind.', text: 'The cache is closed, or staler than its bound; what cannot be proven is read from Postgres.' });
  }
  return found;
}

/** @param {Fleet | null} known @returns {Notice[]} */
function ofFleet(known) {
  const silent = known?.members.filter((member) => stateOf(member) === 'silent') ?? [];
  return silent.map((member) => ({
    id: `silent-${member.id}`,
    tone: 'warn',
    title: `${capital(nameOf(member))} is silent.`,
    text: `It has not renewed its record for ${millis(Math.max(member.silent_ms, SILENT_FROM_MS))}: it hangs, died, or cannot reach Redis. After 10 s it is no longer listed.`,
  }));
}

/** With a capital at its beginning, and without a stop at its end. @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.$/, '');
