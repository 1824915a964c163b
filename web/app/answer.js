// One answer: the product, where it came from, how old it may be, how long it took, which replica answered, and why.

import { fleet, nameOfId } from './fleet.js';
import { micros, millis, shortId } from './format.js';
import { source, why } from './rules.js';
import { useStore } from './store.js';
import { html } from './ui.js';

/** @import { Reading } from './product.js' */
/** @import { Explanation, Product, Step } from './types.js' */

/** @param {{ id: string, reading: Reading }} props */
export function Answer({ id, reading }) {
  const { product, explanation, tookMs, cacheStatus } = reading;
  const { word, where, tone } = source(explanation);
  useStore(fleet);
  return html`
    <div class="answer" data-source=${explanation.origin}>
      <div class=${`verdict ${tone}`}>
        <span class="verdict-word">${word}</span> <span>${where}</span>
        <span class="verdict-time" title="By the clock of the replica">${tookMs === null ? micros(explanation.took_us) : millis(tookMs)}</span>
      </div>
      <${ProductCard} id=${id} product=${product} />
      <dl class="facts">
        <div><dt>Age</dt><dd><${Age} explanation=${explanation} /></dd></div>
        <div><dt>Time</dt><dd>${micros(explanation.took_us)} in the cache’s code<${Steps} steps=${explanation.steps} />${tookMs !== null && html`, ${millis(tookMs)} for the whole answer`}</dd></div>
        <div><dt>Replica</dt><dd data-fact="replica">${nameOfId(explanation.process)}</dd></div>
        <div><dt>Why</dt><dd data-fact="why">${why(explanation)}</dd></div>
        <div><dt>Proof</dt><dd class="mono small">${proof(explanation)}</dd></div>
      </dl>
      <details>
        <summary>The explanation, as the replica gave it</summary>
        ${cacheStatus && html`<p class="mono small">Cache-Status: ${cacheStatus}</p>`}
        <pre tabindex="0" aria-label="Explanation as JSON">${JSON.stringify(explanation, null, 2)}</pre>
      </details>
    </div>
  `;
}

/** @param {{ id: string, product: Product | null }} props */
function ProductCard({ id, product }) {
  if (!product) return html`<p class="product"><b>There is no product ${shortId(id)}.</b> That there is none is cached too.</p>`;
  return html`
    <div class="product">
      <div>
        <b class="product-name">${product.name}</b>
        <span class="faint mono small">${product.sku} · ${product.category} · ${product.id}</span>
      </div>
      <p class="price"><b data-product="price">${product.price}</b> <span class="faint"><span data-product="stock">${product.stock_quantity}</span> in stock</span></p>
    </div>
  `;
}

/** @param {{ explanation: Explanation }} props */
function Age({ explanation: { age_us, max_staleness_us } }) {
  const label = `at most ${micros(age_us)} of the allowed ${micros(max_staleness_us)}`;
  return html`
    <span data-fact="age">${age_us === 0 ? 'read just now' : `true ${micros(age_us)} ago or later`}</span>
    <meter min="0" max=${max_staleness_us} value=${age_us} aria-label="Age" title=${label}>${label}</meter>
    <span class="faint">bound ${micros(max_staleness_us)}</span>
  `;
}

/** @param {{ steps: Step[] }} props */
function Steps({ steps }) {
  if (steps.length === 0) return null;
  return html` <span class="faint">(${steps.map(({ name, took_us }) => `${name} ${micros(took_us)}`).join(', ')})</span>`;
}

/** @param {Explanation} explanation */
function proof({ load, entry, control }) {
  const applied = control ? `; changes are applied up to ${control.position}` : '';
  if (load) return `read under snapshot ${load.snapshot}${applied}`;
  if (entry?.snapshot) return `read under snapshot ${entry.snapshot}${applied}`;
  return entry?.lsn ? `made from the change that ends at ${entry.lsn}${applied}` : 'none is needed: it was read from Postgres';
}
