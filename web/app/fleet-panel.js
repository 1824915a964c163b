// Replicas and workers, each with its state and what it says of its work.

import { fleet, stateOf } from './fleet.js';
import { bytes, count, millis, short } from './format.js';
import { Badge, Empty, Failure, Panel } from './panel.js';
import { useStore } from './store.js';
import { html } from './ui.js';

/** @import { Member } from './fleet.js' */

const TONES = { ready: 'ok', up: 'ok', 'not ready': 'warn', silent: 'bad' };

export function FleetPanel() {
  const now = useStore(fleet);
  const has = (/** @type {string} */ role) => now?.members.some((member) => member.role === role);
  return html`
    <${Panel} name="fleet" title="Replicas and workers" lead="Each process keeps a record of itself in Redis, and renews it every second.">
      ${!now && html`<${Empty}>Waiting for the registry…<//>`}
      ${now?.unseen && html`<${Failure}>The registry cannot be looked at: ${now.unseen}. What is shown is from before.<//>`}
      ${now && !now.unseen && now.members.length === 0 && html`<${Empty}>Nobody is registered: Redis, where the records lie, was emptied or is away.<//>`}
      ${now && now.members.length > 0 && html`
        <div class="scroll" tabindex="0" role="region" aria-label="Processes">
          <table class="fleet">
            <thead><tr><th>Process</th><th>State</th><th>Work</th><th class="numbers">Up for</th></tr></thead>
            <tbody>
              ${now.members.map((member) => html`<${Row} key=${member.id} member=${member} now_us=${now.at_us} />`)}
              ${!has('invalidator') && html`<tr class="missing"><td>invalidator</td><td><${Badge} tone="bad">none<//></td><td colspan="2">Nobody applies changes.</td></tr>`}
            </tbody>
          </table>
        </div>`}
    <//>
  `;
}

/** @param {{ member: Member, now_us: number }} props */
function Row({ member, now_us }) {
  const { id, role, address, admin_address, started_ms, silent_ms, source, host, pid, version } = member;
  const state = stateOf(member);
  const where = address ?? admin_address;
  return html`
    <tr data-process=${id} data-role=${role} data-state=${state}>
      <td title=${`${host}, pid ${pid}, version ${version}, id ${id}`}><b>${role}</b>${source && html` <span class="faint">from ${source}</span>`}
        ${where && html`<br /><span class="mono small faint">${where}</span>`}</td>
      <td><${Badge} tone=${TONES[state]}>${state}${state === 'silent' ? ` for ${millis(silent_ms)}` : ''}<//></td>
      <td class="work">${work(member).map(([name, value]) => html`<span class=${name && 'fact'}><span class="faint">${name}</span> ${value}</span>`)}</td>
      <td class="numbers">${millis(now_us / 1000 - started_ms)}</td>
    </tr>
  `;
}

/** @param {Member} member @returns {[string, string][]} */
function work({ role, figures }) {
  if (role === 'demo') return [['', 'plain SQL, and the usual way, for demonstrations']];
  if (!figures) return [['', 'says nothing of its work']];
  const { requests, reads, loads, changes, freshness_ms, fenced, lag_bytes, stripes_closed, relay, warmed } = figures;
  /** @type {([string, string] | null)[]} */
  const all = [
    requests ? ['requests', `${short(requests.per_s)}/s`] : null,
    requests?.p99_ms != null ? ['p99', millis(requests.p99_ms)] : null,
    reads ? ['hits', count(reads.hits)] : null,
    reads ? ['misses', count(reads.misses)] : null,
    reads?.fallbacks ? ['from memory', count(reads.fallbacks)] : null,
    changes ? ['changes', count(changes.total)] : null,
    changes?.p99_ms != null ? ['commit to cache p99', millis(changes.p99_ms)] : null,
    freshness_ms != null ? ['fresh to', millis(freshness_ms)] : null,
    fenced ? ['fenced', count(fenced)] : null,
    lag_bytes != null ? ['behind', bytes(lag_bytes)] : null,
    stripes_closed ? ['stripes closed', count(stripes_closed)] : null,
    loads && !reads ? ['read from Postgres', count(loads.total)] : null,
    relay ? ['published', count(relay.published)] : null,
    warmed != null ? ['warmed', count(warmed)] : null,
  ];
  return all.filter((fact) => fact !== null);
}
