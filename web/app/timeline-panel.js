// The last change, followed from the commit to the next read, as each process saw it by its own clock.

import { changes } from './changes.js';
import { fleet, nameOfId } from './fleet.js';
import { clock, millis } from './format.js';
import { Empty, Panel } from './panel.js';
import { useStore } from './store.js';
import { moments, zeroOf } from './timeline.js';
import { html } from './ui.js';

/** @import { Feed } from './live.js' */
/** @import { Change, Moment } from './timeline.js' */

/** @param {{ feed: Feed }} props */
export function TimelinePanel({ feed }) {
  const [all, line] = [useStore(changes), useStore(feed.line)];
  useStore(fleet);
  const [last, ...earlier] = all;
  return html`
    <${Panel} name="timeline" title="Follow a change"
      lead="Commit, change stream, cache, next read: each moment as the process that saw it tells it, by its own clock.">
      ${!last && html`<${Empty}>${
        line.state === 'live'
          ? 'Change the product, here or with psql: what happens then is shown here as it happens.'
          : 'Once the live feed is connected, changes of the product are followed here.'
      }<//>`}
      ${!last && html`<${Awaited} />`}
      ${last && html`<${Moments} change=${last} />`}
      ${earlier.length > 0 && html`<${Earlier} all=${earlier} />`}
    <//>
  `;
}

/** What will be shown, for those who see the page for the first time. */
const AWAITED = [
  ['commit', 'COMMIT is in the log', 'Postgres', 'A new reader may not see it yet: that is the gap which DEL and SET fall into.'],
  ['received', 'The change is received', 'the invalidator', 'From Postgres’s own change stream; whoever wrote need not know of any cache.'],
  ['applied', 'The entry is replaced in Redis', 'the invalidator', 'And no older value can come back.'],
  ['visible', 'It is seen to be visible', 'the invalidator', 'Where it was in the gap: until then a fence keeps older readings out.'],
  ['read', 'The next read', 'a replica', 'Has the change, and says why it could be served.'],
];

function Awaited() {
  return html`
    <ol class="moments awaited">
      ${AWAITED.map(
        ([id, what, process, detail]) => html`
          <li class=${`moment moment-${id}`}>
            <span class="offset faint" aria-hidden="true">…</span>
            <span class="moment-what"><b>${what}</b> <span class="who">${process}</span></span>
            <span class="moment-detail">${detail}</span>
          </li>`,
      )}
    </ol>
  `;
}

/** @param {{ change: Change }} props */
function Moments({ change }) {
  const found = moments(change, nameOfId);
  const zero = zeroOf(found);
  const [from, to] = [Math.min(0, ...found.map(({ at_us }) => at_us - zero)), Math.max(1, ...found.map(({ at_us }) => at_us - zero))];
  const at = (/** @type {number} */ us) => `${(100 * (us - zero - from)) / (to - from)}%`;
  return html`
    <div class="track" aria-hidden="true">
      ${found.map(({ id, at_us }) => html`<i key=${id} class=${`moment-${id}`} style=${{ left: at(at_us) }}></i>`)}
    </div>
    <ol class="moments" data-xid=${change.xid}>
      ${found.map((moment) => html`<${MomentLine} key=${moment.id} moment=${moment} zero=${zero} />`)}
    </ol>
    <p class="small faint" aria-live="polite">${summary(change, found)}</p>
  `;
}

/** @param {{ moment: Moment, zero: number }} props */
function MomentLine({ moment: { id, what, detail, at_us, process, clock: whose }, zero }) {
  const offset = (at_us - zero) / 1000;
  return html`
    <li class=${`moment moment-${id}`} data-moment=${id} data-at-us=${at_us}>
      <span class="offset" title=${`${clock(at_us / 1000)}, ${process}, ${whose}`}>${offset === 0 ? '0' : `${offset > 0 ? '+' : '−'}${millis(Math.abs(offset))}`}</span>
      <span class="moment-what"><b>${what}</b> <span class="who">${process}, ${whose}</span></span>
      <span class="moment-detail">${detail}</span>
    </li>
  `;
}

/** @param {Change} change @param {Moment[]} found */
function summary({ effect }, found) {
  const at = (/** @type {string} */ id) => found.find((moment) => moment.id === id)?.at_us;
  const [commit, applied, next] = [at('commit'), at('applied'), at('read')];
  if (!effect) return 'Waiting for the change stream to bring it…';
  const parts = [];
  if (commit && applied) parts.push(`From commit to cache: ${millis((applied - commit) / 1000)}.`);
  if (commit && next) parts.push(`From commit to the next read: ${millis((next - commit) / 1000)}.`);
  return `${parts.join(' ')} Clocks of different machines may differ; those of one do not.`;
}

/** @param {{ all: Change[] }} props */
function Earlier({ all }) {
  return html`
    <div class="earlier">
      <h3>Before that</h3>
      <table>
        <thead><tr><th>Transaction</th><th>Became</th><th class="numbers">To the cache</th><th class="numbers">To the next read</th></tr></thead>
        <tbody>${all.map((change) => html`<${EarlierRow} key=${change.xid} change=${change} />`)}</tbody>
      </table>
    </div>
  `;
}

/** @param {{ change: Change }} props */
function EarlierRow({ change }) {
  const found = moments(change, nameOfId);
  const zero = zeroOf(found);
  const late = (/** @type {string} */ id) => {
    const at_us = found.find((moment) => moment.id === id)?.at_us;
    return at_us ? millis((at_us - zero) / 1000) : '–';
  };
  const product = change.read?.product;
  return html`
    <tr>
      <td class="mono">${change.xid}</td>
      <td>${product ? `${product.price}, ${product.stock_quantity} in stock` : change.read ? 'no product' : '–'}</td>
      <td class="numbers">${late('applied')}</td>
      <td class="numbers">${late('read')}</td>
    </tr>
  `;
}
