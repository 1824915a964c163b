// What is cached: keys by the beginning of their names, page by page; one of them explained; and the button that clears all.

import { ClearButton } from './clear.js';
import { Explained } from './explained.js';
import { bytes, millis } from './format.js';
import { ask, words } from './http.js';
import { Empty, Failure, Panel } from './panel.js';
import { classes, html, useEffect, useState } from './ui.js';

/** @typedef {{ keys: { key: string, bytes: number, ttl_ms: number }[], next: string | null }} Keys */
/** @typedef {{ prefix: string, page: Keys | null, number: number, failure: string | null, isReading: boolean }} State */

/** How many keys are drawn at once; a page may bring a few hundred. */
const DRAWN_MAX = 200;

export function KeysPanel() {
  const [state, setState] = useState(/** @type {State} */ ({ prefix: 'products:', page: null, number: 0, failure: null, isReading: true }));
  const [chosen, setChosen] = useState(/** @type {string | null} */ (null));

  /** @param {string} prefix @param {string | null} cursor @param {number} number */
  const read = async (prefix, cursor, number) => {
    setState((before) => ({ ...before, prefix, isReading: true, failure: null }));
    const query = new URLSearchParams({ prefix, ...(cursor ? { cursor } : {}) });
    try {
      const page = /** @type {Keys} */ ((await ask(`/cache/keys?${query}`, { manages: true })).body);
      setState({ prefix, page, number, failure: null, isReading: false });
    } catch (error) {
      setState({ prefix, page: null, number, failure: words(error), isReading: false });
    }
  };
  useEffect(() => void read(state.prefix, null, 1), []);
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    void read(String(new FormData(/** @type {HTMLFormElement} */ (event.target)).get('prefix') ?? ''), null, 1);
  };
  const { page, number, failure, prefix } = state;
  return html`
    <${Panel} name="keys" title="What is cached" side=${html`<${ClearButton} after=${() => read(prefix, null, 1)} />`}
      lead="By SCAN, page by page. What was cleared stays listed until it runs out; explain a key to see whether it is served.">
      <form class="row" onSubmit=${submit}>
        <label class="grow">Keys that begin with <input name="prefix" value=${prefix} autocomplete="off" spellcheck=${false} class="mono" /></label>
        <button type="submit">List</button>
        <button type="button" disabled=${!page?.next} onClick=${() => page?.next && read(prefix, page.next, number + 1)}>Next page</button>
      </form>
      <p class="small faint" role="status">${page ? inShort(page, number) : ''}</p>
      <div aria-busy=${state.isReading}>
        ${failure && html`<${Failure}>${failure}<//>`}
        ${!page && !failure && html`<${Empty}>Listing…<//>`}
        ${page && page.keys.length === 0 && html`<${Empty}>${page.next ? 'No such key on this page; there are more pages.' : 'No key begins so.'}<//>`}
        ${page && page.keys.length > 0 && html`<${List} page=${page} chosen=${chosen} choose=${setChosen} />`}
      </div>
      ${chosen && html`<${Explained} key=${chosen} name=${chosen} close=${() => setChosen(null)} />`}
    <//>
  `;
}

/** @param {Keys} page @param {number} number */
function inShort({ keys, next }, number) {
  const drawn = keys.length > DRAWN_MAX ? `; the first ${DRAWN_MAX} are shown` : '';
  return `Page ${number}: ${keys.length} keys${next ? ', and there are more' : ''}${drawn}`;
}

/** @param {{ page: Keys, chosen: string | null, choose: (key: string) => void }} props */
function List({ page: { keys }, chosen, choose }) {
  return html`
    <div class="scroll list" tabindex="0" role="region" aria-label="Cached keys">
      <table>
        <thead><tr><th>Key</th><th class="numbers">Size</th><th class="numbers">Runs out in</th></tr></thead>
        <tbody>
          ${keys.slice(0, DRAWN_MAX).map(({ key, bytes: size, ttl_ms }) => html`
            <tr key=${key}>
              <td><button type="button" class=${classes('inline mono', key === chosen && 'chosen')} onClick=${() => choose(key)}><span class="hidden">Explain </span>${key}</button></td>
              <td class="numbers">${bytes(size)}</td>
              <td class="numbers">${millis(ttl_ms)}</td>
            </tr>`)}
        </tbody>
      </table>
    </div>
  `;
}
