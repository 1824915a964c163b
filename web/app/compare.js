// The cache against the database: the same products, read in turn from either, and how long each took.

import { ask, words } from './http.js';
import { count, micros, short } from './format.js';
import { Empty, Failure, Panel } from './panel.js';
import { html, useState } from './ui.js';

/**
 * @typedef {{ mean_us: number, p50_us: number, p90_us: number, p99_us: number, max_us: number }} Times
 * @typedef {{ keys: number, n: number, is_complete: boolean, hits: number, cache: Times | null, postgres: Times | null,
 *             ratio: { mean: number, p50: number, p99: number } | null }} Performance
 */

const ROWS = /** @type {[keyof Times, string][]} */ ([['p50_us', 'p50'], ['p90_us', 'p90'], ['p99_us', 'p99'], ['mean_us', 'mean'], ['max_us', 'longest']]);

export function Compare() {
  const [busy, setBusy] = useState(false);
  const [result, setResult] = useState(/** @type {Performance | null} */ (null));
  const [failure, setFailure] = useState(/** @type {string | null} */ (null));
  const measure = async () => {
    if (busy) return;
    setBusy(true);
    setFailure(null);
    try {
      setResult(/** @type {Performance} */ ((await ask('/cache/performance?n=300', { manages: true })).body));
    } catch (error) {
      setFailure(words(error));
    }
    setBusy(false);
  };
  const side = html`<button type="button" onClick=${measure} aria-disabled=${busy}>${busy ? 'Measuring…' : 'Measure'}</button>`;
  return html`
    <${Panel} name="compare" title="Cache against database" side=${side}
      lead="The newest products, 300 reads of each kind, one at a time and in turn, measured inside the replica.">
      <div aria-live="polite" aria-busy=${busy}>
        ${failure && html`<${Failure}>${failure}<//>`}
        ${!result && !failure && html`<${Empty}>${busy ? 'It takes a second or so.' : 'Nothing is measured yet.'}<//>`}
        ${result?.cache && result.postgres && html`<${Result} result=${result} cache=${result.cache} postgres=${result.postgres} />`}
        ${result && !result.cache && html`<${Empty}>There are no products to read.<//>`}
      </div>
    <//>
  `;
}

/** @param {{ result: Performance, cache: Times, postgres: Times }} props */
function Result({ result: { n, hits, ratio, keys, is_complete }, cache, postgres }) {
  const longest = Math.max(cache.p99_us, postgres.p99_us);
  return html`
    ${ratio && html`<p class="headline"><b>${short(ratio.p50)} ×</b> as long from Postgres as through the cache (p50)</p>`}
    <table class="bars">
      <thead><tr><th>Time</th><th><i class="swatch good" aria-hidden="true"></i>Cache</th><th><i class="swatch second" aria-hidden="true"></i>Postgres</th></tr></thead>
      <tbody>
        ${ROWS.map(([name, label]) => html`
          <tr data-row=${label}>
            <th scope="row">${label}</th>
            <${Bar} tone="good" us=${cache[name]} longest=${longest} />
            <${Bar} tone="second" us=${postgres[name]} longest=${longest} />
          </tr>`)}
      </tbody>
    </table>
    <p class="small faint">${count(n)} reads each of ${count(keys)} products, ${count(hits)} of them hits${is_complete ? '' : '; ten seconds were over before all were made'}.
      Bars are as long as the times; the longest p99 fills one.</p>
  `;
}

/** @param {{ tone: string, us: number, longest: number }} props */
function Bar({ tone, us, longest }) {
  const width = `${Math.min(100, (100 * us) / longest)}%`;
  return html`<td><span class="bar" aria-hidden="true"><i class=${tone} style=${{ width }}></i></span><span class="bar-value">${micros(us)}</span></td>`;
}
