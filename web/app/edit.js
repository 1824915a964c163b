// Changing the product that is looked at: through the API, or by plain SQL in a session that knows no Freshline.

import { takeWrite } from './changes.js';
import { demo, whyNot } from './demo.js';
import { ask, words } from './http.js';
import { Failure } from './panel.js';
import { look, lookUp } from './product.js';
import { useStore } from './store.js';
import { html, useEffect, useState } from './ui.js';

/** @import { Feed } from './live.js' */
/** @import { Product, SqlWrite, Write } from './types.js' */

/** @param {{ feed: Feed }} props */
export function Edit({ feed }) {
  const [now, known] = [useStore(look), useStore(demo)];
  const product = now?.reading?.product ?? null;
  const [fields, setFields] = useState({ price: '', stock: '' });
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState(/** @type {{ ok: boolean, text: string } | null} */ (null));
  const noSql = whyNot(known, 'sql');
  useEffect(() => {
    setFields({ price: product?.price ?? '', stock: String(product?.stock_quantity ?? '') });
    setSaid(null);
  }, [product?.id]);
  if (!product) return null;

  /** @param {'api' | 'sql'} way */
  const save = async (way) => {
    if (busy) return;
    setBusy(true);
    setSaid(null);
    try {
      const write = await (way === 'sql' ? bySql(known?.base ?? '', product, fields) : byApi(product, fields));
      takeWrite(write);
      setSaid({ ok: true, text: `Committed as transaction ${write.xid}.` });
      // Without the feed nothing tells when the change was applied: read at once.
      if (feed.line.get().state !== 'live') void lookUp(product.id);
    } catch (error) {
      setSaid({ ok: false, text: words(error) });
    }
    setBusy(false);
  };
  const type = (/** @type {'price' | 'stock'} */ name) => (/** @type {InputEvent} */ event) =>
    setFields((before) => ({ ...before, [name]: /** @type {HTMLInputElement} */ (event.target).value }));
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    void save(/** @type {HTMLButtonElement | null} */ (event.submitter)?.value === 'sql' ? 'sql' : 'api');
  };
  return html`
    <form class="edit" onSubmit=${submit}>
      <h3>Change it</h3>
      <div class="row">
        <label>Price <input name="price" inputmode="decimal" required value=${fields.price} onInput=${type('price')} autocomplete="off" /></label>
        <label>Stock <input name="stock" inputmode="numeric" required value=${fields.stock} onInput=${type('stock')} autocomplete="off" /></label>
        <button type="submit" name="way" value="api" class="primary" disabled=${busy}>Save through the API</button>
        <button type="submit" name="way" value="sql" disabled=${busy || noSql !== null} aria-describedby=${noSql ? 'no-sql' : undefined}>Save by plain SQL</button>
      </div>
      <p id="no-sql" class="faint small">${noSql ?? 'Plain SQL: an UPDATE in a session that knows no Freshline (the demo process).'}</p>
      <div aria-live="polite">${said?.ok && html`<p class="said">${said.text}</p>`}</div>
      ${said && !said.ok && html`<${Failure}>${said.text}<//>`}
    </form>
  `;
}

/**
 * @param {Product} product
 * @param {{ price: string, stock: string }} fields
 * @returns {Promise<Write>}
 */
async function byApi({ id }, { price, stock }) {
  const body = JSON.stringify({ price: price.trim(), stock_quantity: numeral(stock) });
  const answer = await ask(`/products/${id}?explain=true`, { method: 'PATCH', body });
  return /** @type {{ write: Write }} */ (answer.body).write;
}

/**
 * @param {string} base
 * @param {Product} product
 * @param {{ price: string, stock: string }} fields
 * @returns {Promise<SqlWrite>}
 */
async function bySql(base, { id }, { price, stock }) {
  const body = JSON.stringify({ id, price: price.trim(), stock_quantity: numeral(stock) });
  return /** @type {SqlWrite} */ ((await ask(`${base}/sql`, { method: 'POST', body })).body);
}

/** What was typed, as a number where it is one; the other end says what is wrong with what is not. @param {string} text */
const numeral = (text) => (/^-?\d{1,15}$/.test(text.trim()) ? Number(text) : text);
