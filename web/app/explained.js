// One key, explained: whether a reader would be served from the cache, what stands in the way, and what Postgres holds.

import { ask, words } from './http.js';
import { Badge, Empty, Failure } from './panel.js';
import { html, useEffect, useState } from './ui.js';

/** @import { Explanation } from './types.js' */
/**
 * @typedef {{ is_served: boolean, verdict: string, look: Explanation, fences: { own: number[], wildcard: number[], snapshot: string } | null,
 *             lease: { left_ms: number } | null, row: { table: string, is_there: boolean, agrees: boolean | null, snapshot: string } | null,
 *             unseen: string[] }} Told
 */

/** @param {{ name: string, close: () => void }} props */
export function Explained({ name, close }) {
  const [told, setTold] = useState(/** @type {Told | null} */ (null));
  const [failure, setFailure] = useState(/** @type {string | null} */ (null));
  const explain = async () => {
    try {
      setTold(/** @type {Told} */ ((await ask(`/cache/explain/${encodeURIComponent(name)}`, { manages: true })).body));
      setFailure(null);
    } catch (error) {
      setFailure(words(error));
    }
  };
  useEffect(() => void explain(), [name]);
  return html`
    <div class="explained" data-key=${name}>
      <div class="row">
        <h3 class="grow mono">${name}</h3>
        <button type="button" onClick=${explain}>Explain again</button>
        <button type="button" class="quiet" onClick=${close} aria-label="Close the explanation">Close</button>
      </div>
      ${failure && html`<${Failure}>${failure}<//>`}
      ${!told && !failure && html`<${Empty}>Looking…<//>`}
      ${told && html`<${Facts} told=${told} />`}
    </div>
  `;
}

/** @param {{ told: Told }} props */
function Facts({ told }) {
  const { is_served, verdict, look, fences, lease, row, unseen } = told;
  const fenced = fences ? [...fences.own, ...fences.wildcard] : [];
  return html`
    <p role="status"><${Badge} tone=${is_served ? 'ok' : 'warn'}>${is_served ? 'served' : 'not served'}<//> ${verdict.replace(/^(not )?served: /, '')}.</p>
    <dl class="facts">
      <div><dt>Postgres</dt><dd>${postgres(row)}</dd></div>
      <div><dt>Proof</dt><dd class="mono small">${look.entry?.snapshot ? `snapshot ${look.entry.snapshot}` : look.entry?.lsn ? `change up to ${look.entry.lsn}` : 'no entry'}</dd></div>
      <div><dt>Fences</dt><dd>${fenced.length ? `transactions ${fenced.join(', ')}, not known to be visible` : 'none'}</dd></div>
      <div><dt>Lease</dt><dd>${lease ? `held, for ${lease.left_ms} ms more at most` : 'nobody holds one'}</dd></div>
      ${unseen.length > 0 && html`<div><dt>Unseen</dt><dd>${unseen.join('; ')}</dd></div>`}
    </dl>
    <details><summary>All of it</summary><pre tabindex="0" aria-label="All that is known of the key, as JSON">${JSON.stringify(told, null, 2)}</pre></details>
  `;
}

/** @param {Told['row']} row */
function postgres(row) {
  if (!row) return 'no rule says which row this is';
  const what = row.is_there ? `a row of ${row.table}` : `no such row in ${row.table}`;
  if (row.agrees === null) return what;
  return html`${what} <${Badge} tone=${row.agrees ? 'ok' : 'bad'}>${row.agrees ? 'the entry holds the same' : 'the entry holds another'}<//>`;
}
