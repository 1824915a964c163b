// The usual way, side by side: the same writes and reads through DEL on change and SET on a miss, on keys of its own, and through
// Freshline. A demonstration: nothing of it runs until somebody presses the button.

import { demo, whyNot } from './demo.js';
import { problem, Refused, words } from './http.js';
import { count, millis } from './format.js';
import { Badge, Empty, Failure, Panel } from './panel.js';
import { look } from './product.js';
import { useStore } from './store.js';
import { Strip } from './strip.js';
import { html, useRef, useState } from './ui.js';
import { EMPTY, add, events, total } from './usual-run.js';

/** @import { Offer } from './demo.js' */
/** @import { Run } from './usual-run.js' */

const ASKED = { hold_ms: 1500, reads_per_s: 40, ttl_ms: 8000, rounds: 3 };

/** How many rounds are drawn at once. */
const DRAWN_MAX = 6;

export function UsualPanel() {
  const [known, now] = [useStore(demo), useStore(look)];
  const [run, setRun] = useState(/** @type {Run | null} */ (null));
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState(/** @type {string | null} */ (null));
  const stop = useRef(/** @type {AbortController | null} */ (null));
  const product = now?.reading?.product ?? null;
  const cannot = whyNot(known, 'usual') ?? (product ? null : 'Look a product up first: its price is what is changed.');

  const start = async () => {
    if (!known || !product || busy) return;
    stop.current = new AbortController();
    setBusy(true);
    setFailure(null);
    setRun(EMPTY);
    try {
      await follow(`${known.base}/usual`, product.id, stop.current.signal, setRun);
    } catch (error) {
      if (!stop.current.signal.aborted) setFailure(words(error));
    }
    setBusy(false);
  };
  const side = html`<${Badge} tone="second">demonstration<//>
    ${busy
      ? html`<button type="button" onClick=${() => stop.current?.abort()}>Stop</button>`
      : html`<button type="button" disabled=${cannot !== null} aria-describedby="usual-why" onClick=${start}>Run the usual way beside it</button>`}`;
  return html`
    <${Panel} name="usual" wide title="The usual way, side by side" side=${side}
      lead="DEL on a change, SET on a miss, with a TTL: on keys of its own, with the same writes and reads as Freshline gets. Between the log and its visibility each commit is held for a moment where that can be done, as it is by a standby that is away.">
      <p id="usual-why" class="small faint">${cannot ?? plan(product?.name ?? '', known?.offer ?? null)}</p>
      ${failure && html`<${Failure}>${failure}<//>`}
      ${run && html`<${Shown} run=${run} busy=${busy} />`}
    <//>
  `;
}

/**
 * What pressing the button does.
 * @param {string} name
 * @param {Offer | null} offer
 */
function plan(name, offer) {
  const held = offer?.holds_commits
    ? `It changes the price of ${name} ${ASKED.rounds} times and holds each commit for ${millis(ASKED.hold_ms)}`
    : `Commits cannot be held here (${offer?.why_not ?? 'the demo process does not say why'}), so it changes the price of ${name} some hundred times and waits for the gap to show by itself`;
  return `Off until you press it. ${held}; it reads ${ASKED.reads_per_s} times a second each way, and puts the price back.`;
}

/**
 * @param {string} url
 * @param {string} id
 * @param {AbortSignal} signal
 * @param {(run: Run) => void} show
 */
async function follow(url, id, signal, show) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ id, ...ASKED }), signal });
  if (!response.ok || !response.body) throw new Refused(await problem(response));
  let run = EMPTY;
  for await (const batch of events(response.body)) {
    run = batch.reduce(add, run);
    show(run);
  }
  if (!run.totals) throw new Error('The demo process ended the run before its end.');
}

/** @param {{ run: Run, busy: boolean }} props */
function Shown({ run, busy }) {
  return html`
    <div class="totals" aria-live=${busy ? 'off' : 'polite'} data-usual=${busy ? 'running' : run.totals ? 'over' : 'stopped'}>
      <${Total} name="The usual way" way="usual" run=${run} />
      <${Total} name="Freshline" way="freshline" run=${run} />
    </div>
    ${run.rounds.length === 0 && html`<${Empty}>Setting up a slot of its own…<//>`}
    <p class="key small">
      <span><i class="swatch good" aria-hidden="true"></i>from the cache</span> <span><i class="swatch accent" aria-hidden="true"></i>from Postgres</span>
      <span><i class="swatch bad tall" aria-hidden="true"></i>stale: not what Postgres had already shown</span>
      <span class="faint">Times by the demo process’s clock.</span>
    </p>
    ${drawn(run).map((round) => html`<${Strip} key=${round.number} round=${round} />`)}
  `;
}

/**
 * The rounds that are drawn: all of a few; of many, as where commits cannot be held, the last of those that had stale reads.
 * @param {Run} run
 */
function drawn({ rounds }) {
  if (rounds.length <= DRAWN_MAX) return rounds;
  const stale = rounds.filter(({ reads }) => reads.some(({ is_stale }) => is_stale));
  return (stale.length ? stale : rounds).slice(-DRAWN_MAX);
}

/** @param {{ name: string, way: 'usual' | 'freshline', run: Run }} props */
function Total({ name, way, run }) {
  const { reads, stale, longest_stale_ms } = total(run, way);
  return html`
    <div class=${`total ${stale ? 'bad' : 'ok'}`} data-total=${way} data-stale=${stale} data-reads=${reads}>
      <h3>${name}</h3>
      <p><b>${count(stale)}</b> of ${count(reads)} reads stale</p>
      <p class="small faint">${stale ? `the longest for ${millis(longest_stale_ms)}` : 'none'}</p>
    </div>
  `;
}
