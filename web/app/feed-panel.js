// The live feed: everything that is done to the cache, newest first, or what is done to one key, tag or table.

import { fleet, nameOfId } from './fleet.js';
import { clock, millis, shortKey } from './format.js';
import { Feed } from './live.js';
import { Badge, Empty, Failure, Panel } from './panel.js';
import { store, useStore } from './store.js';
import { Trail } from './trail.js';
import { html, useEffect, useState } from './ui.js';

/** @import { Line } from './trail.js' */
/** @import { Done } from './types.js' */

const TONES = /** @type {Record<string, string>} */ ({
  removed: 'warn', replaced: 'ok', tag: 'idle', visible: 'memory', bump: 'warn', open: 'ok', closed: 'bad', hole: 'bad',
});

/** @param {{ feed: Feed, trail: Trail }} props */
export function FeedPanel({ feed, trail }) {
  const [filter, setFilter] = useState(/** @type {{ kind: 'key' | 'table', value: string } | null} */ (null));
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const data = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const value = String(data.get('value') ?? '').trim();
    setFilter(value ? { kind: data.get('kind') === 'table' ? 'table' : 'key', value } : null);
  };
  return html`
    <${Panel} name="feed" title="Live feed" lead="What was done to the cache, newest first: GET /events, which freshline watch shows as well.">
      <form class="row" onSubmit=${submit}>
        <label>Only <select name="kind" aria-label="Filter by"><option value="key">key or tag</option><option value="table">table</option></select></label>
        <label class="grow"><span class="hidden">Name</span><input name="value" placeholder="products:…, or public.products; empty for all" autocomplete="off" spellcheck=${false} class="mono" /></label>
        <button type="submit">Filter</button>
      </form>
      ${filter ? html`<${Filtered} key=${`${filter.kind} ${filter.value}`} filter=${filter} />` : html`<${Lines} feed=${feed} trail=${trail} />`}
    <//>
  `;
}

/** A feed of its own, filtered where it is made. @param {{ filter: { kind: 'key' | 'table', value: string } }} props */
function Filtered({ filter: { kind, value } }) {
  const [own] = useState(() => {
    const trail = new Trail();
    return { trail, feed: new Feed({ [kind]: value }, (events) => trail.take(events)) };
  });
  useEffect(() => {
    void own.feed.run();
    return () => own.feed.stop();
  }, [own]);
  return html`<${Lines} feed=${own.feed} trail=${own.trail} of=${`${kind} ${value}`} />`;
}

/** Whether lines go on being drawn. */
const paused = store(/** @type {Line[] | null} */ (null));

/** @param {{ feed: Feed, trail: Trail, of?: string }} props */
function Lines({ feed, trail, of }) {
  const [line, fresh, held] = [useStore(feed.line), useStore(trail.lines), useStore(paused)];
  useStore(fleet);
  useEffect(() => () => paused.set(null), []);
  const lines = held ?? fresh;
  return html`
    <div class="row small">
      <span class="grow faint" data-feed-state=${line.state}>${state(line, of)}</span>
      <button type="button" class="inline" aria-pressed=${held !== null} onClick=${() => paused.set(held ? null : fresh)}>${held ? 'Go on' : 'Hold'}</button>
    </div>
    ${line.state === 'refused' && html`<${Failure}>${line.why}<//>`}
    ${lines.length === 0 && html`<${Empty}>${line.state === 'live' ? 'Nothing was done yet. Change something.' : 'Nothing to show.'}<//>`}
    ${lines.length > 0 && html`
      <div class="scroll list" tabindex="0" role="log" aria-live="off" aria-label="What was done, newest first">
        <table class="trail"><tbody>${lines.map((one) => html`<${LineRow} key=${one.kind === 'done' ? one.done.id : `lost ${one.n}`} line=${one} />`)}</tbody></table>
      </div>`}
  `;
}

/** @param {import('./live.js').Line} line @param {string | undefined} of */
function state({ state, why }, of) {
  const what = of ? `Of ${of}` : 'Of all';
  if (state === 'live') return `${what}; connected.`;
  return state === 'connecting' ? `${what}; connecting…` : `${what}; disconnected: ${why.replace(/\.$/, '')}.`;
}

/** @param {{ line: Line }} props */
function LineRow({ line }) {
  if (line.kind === 'lost') return html`<tr><td colspan="4"><${Badge} tone="bad">lost<//> ${line.count === null ? 'Nobody knows how much was done meanwhile: it is more than is kept' : `${line.count} did not fit and were left out`}.</td></tr>`;
  const { at_ms, effect, name, xid, by, id } = line.done;
  return html`
    <tr data-done=${id} data-effect=${effect}>
      <td class="mono small faint" title="By Redis’s clock">${clock(at_ms)}</td>
      <td><${Badge} tone=${TONES[effect] ?? 'idle'}>${effect}<//></td>
      <td class="mono small name" title=${`${name}${by ? `, by ${nameOfId(by)}` : ''}`}>${shortKey(name) || 'everything'}</td>
      <td class="small faint numbers">${late(line.done)}${xid === null ? '' : html` <span class="mono">xid ${xid}</span>`}</td>
    </tr>
  `;
}

/** From the commit, by Postgres's clock, until it was done, by the invalidator's. @param {Done} done */
function late({ committed_us, applied_us }) {
  return committed_us && applied_us ? `+${millis((applied_us - committed_us) / 1000)}` : '';
}
