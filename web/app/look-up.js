// Looking a product up: some to press, any by its id, through the replica that is chosen; and what came of it.

import { Answer } from './answer.js';
import { fleet } from './fleet.js';
import { ask, words } from './http.js';
import { Empty, Failure, Panel } from './panel.js';
import { look, lookUp } from './product.js';
import { choices, through } from './replicas.js';
import { source } from './rules.js';
import { store, useStore } from './store.js';
import { classes, html, useEffect } from './ui.js';

/** @import { Child } from '../vendor/preact/preact.js' */
/** @import { Reading } from './product.js' */
/** @import { Product } from './types.js' */

/** How many products there are to press. */
const QUICK = 8;

const quick = store(/** @type {{ products: Product[] | null, failure: string | null }} */ ({ products: null, failure: null }));

async function fetchQuick() {
  try {
    const { body } = await ask('/products/latest');
    const { items } = /** @type {{ items: Product[] }} */ (body);
    quick.set({ products: items.slice(0, QUICK), failure: null });
    if (!look.get() && items[0]) void lookUp(items[0].id);
  } catch (error) {
    quick.set({ products: null, failure: words(error) });
  }
}

/** @param {{ children?: Child }} props */
export function LookUp({ children }) {
  const now = useStore(look);
  useEffect(() => void fetchQuick(), []);
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const id = String(new FormData(/** @type {HTMLFormElement} */ (event.target)).get('id') ?? '').trim();
    if (id) void lookUp(id);
  };
  return html`
    <${Panel} name="look-up" title="Look a product up"
      lead="A read goes to the cache, and to Postgres where the cache has nothing that is proven. Each answer says which, and why.">
      <${QuickButtons} chosen=${now?.id ?? null} />
      <form class="row" onSubmit=${submit} role="search">
        <label class="grow">Product id <input name="id" required placeholder="a UUID" autocomplete="off" spellcheck=${false} class="mono" /></label>
        <button type="submit">Look up</button>
        <button type="button" disabled=${!now} onClick=${() => now && lookUp(now.id)} data-action="again">Read again</button>
      </form>
      <${Through} />
      <p class="hidden" role="status">${now && !now.isReading && now.reading ? inShort(now.reading) : ''}</p>
      <div aria-busy=${now?.isReading ?? false} class="outcome">
        ${now?.failure && html`<${Failure}>${now.failure}<//>`}
        ${now?.reading && html`<${Answer} id=${now.id} reading=${now.reading} />`}
        ${!now && html`<${Empty}>Press a product, or type an id.<//>`}
        ${now?.isReading && !now.reading && !now.failure && html`<${Empty}>Reading…<//>`}
      </div>
      ${children}
    <//>
  `;
}

/** An answer, for those who hear it. @param {Reading} reading */
function inShort({ product, explanation }) {
  const { word, where } = source(explanation);
  const what = product ? `${product.name}, ${product.price}, ${product.stock_quantity} in stock` : 'There is no such product';
  return `${word} ${where}: ${what}.`;
}

/** @param {{ chosen: string | null }} props */
function QuickButtons({ chosen }) {
  const { products, failure } = useStore(quick);
  if (failure) {
    return html`<${Failure}>The list of products cannot be read. ${failure} <button type="button" class="inline" onClick=${fetchQuick}>Try again</button><//>`;
  }
  if (!products) return html`<${Empty}>Reading the latest products…<//>`;
  if (products.length === 0) return html`<${Empty}>There is no product yet: <code>cargo xtask seed</code> makes some, or <code>POST /products</code>.<//>`;
  return html`
    <ul class="chips" aria-label="Latest products">
      ${products.map(
        ({ id, name }) => html`<li key=${id}>
          <button type="button" class=${classes('chip', id === chosen && 'chosen')} aria-pressed=${id === chosen} onClick=${() => lookUp(id)}>${name}</button>
        </li>`,
      )}
    </ul>
  `;
}

function Through() {
  const chosen = useStore(through);
  useStore(fleet);
  const all = choices();
  const choose = (/** @type {string} */ base) => {
    through.set(base);
    const now = look.get();
    if (now) void lookUp(now.id);
  };
  return html`
    <fieldset class="through">
      <legend>Read through</legend>
      ${all.map(
        ({ base, label, cannot }) => html`
          <label key=${base} class=${classes('option', base === chosen && 'chosen')} title=${cannot}>
            <input type="radio" name="through" value=${base} checked=${base === chosen} disabled=${Boolean(cannot)} onChange=${() => choose(base)} />
            <span>${label}</span>${cannot && html`<small>${cannot}</small>`}
          </label>`,
      )}
    </fieldset>
  `;
}
