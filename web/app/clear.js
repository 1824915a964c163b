// Clearing the cache. It needs no second question: whatever is asked for next is read from Postgres, and is true.

import { millis, shortId } from './format.js';
import { ask, words } from './http.js';
import { html, useState } from './ui.js';

/** @typedef {{ closed: number, is_open: boolean, generation: string | null, took_ms: number }} Cleared */

/** @param {{ after: () => void }} props */
export function ClearButton({ after }) {
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState('');
  const clear = async () => {
    if (busy) return;
    setBusy(true);
    try {
      setSaid(outcome(/** @type {Cleared} */ ((await ask('/cache/clear', { method: 'POST', manages: true })).body)));
    } catch (error) {
      setSaid(words(error));
    }
    setBusy(false);
    after();
  };
  return html`
    <span class="small said" role="status" data-cleared>${said}</span>
    <button type="button" onClick=${clear} aria-disabled=${busy}>${busy ? 'Clearing…' : 'Clear the cache'}</button>
  `;
}

/** @param {Cleared} cleared */
function outcome({ is_open, generation, took_ms }) {
  if (!is_open) return 'Closed, and nobody has opened it yet: no invalidator runs, or it is catching up.';
  return `Cleared: open again as generation ${shortId(generation ?? '')} after ${millis(took_ms)}.`;
}
