// The reads of one round, drawn over its time: a lane for each way, a mark for each read, and lines where something happened.

import { millis } from './format.js';
import { html } from './ui.js';

/** @import { Read, Round } from './usual-run.js' */

/** The drawing's own units: it is scaled to the width that there is. */
const WIDTH = 1000;
const LANE = { usual: 18, freshline: 58 };
const HEIGHT = 92;

/** What the demo process says happened, in words. */
export const PHASES = /** @type {Record<string, string>} */ ({
  began: 'write begins', committing: 'COMMIT is sent, and held', streamed: 'the stream has it', deleted: 'DEL', visible: 'visible to new readers',
});

/** @param {{ round: Round }} props */
export function Strip({ round }) {
  const span = Math.max(round.to - round.from, 500);
  const x = (/** @type {number} */ at) => 4 + ((WIDTH - 8) * (at - round.from)) / span;
  const phases = round.phases.filter(({ phase }) => phase in PHASES);
  const stale = round.reads.filter(({ way, is_stale }) => way === 'usual' && is_stale).length;
  const falsely = round.reads.filter(({ way, is_stale }) => way === 'freshline' && is_stale).length;
  return html`
    <figure class="strip" data-round=${round.number}>
      <figcaption>Round ${round.number}: ${phases.find(({ price }) => price)?.price ?? ''}
        <span class="faint"> · the usual way ${stale} stale, Freshline ${falsely}</span></figcaption>
      <div class="lanes">
      <div class="lane-names faint small" aria-hidden="true"><span>usual way</span><span>Freshline</span></div>
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img"
        aria-label=${`Round ${round.number}: ${stale} stale reads the usual way, ${falsely} through Freshline`}>
        ${phases.map(({ at, phase }) => html`<line class=${`phase phase-${phase}`} x1=${x(at)} x2=${x(at)} y1="0" y2=${HEIGHT} />`)}
        ${round.reads.map((read) => html`<${Mark} read=${read} x=${x(read.at)} />`)}
      </svg>
      </div>
      <ol class="phases">
        ${phases.map(({ at, phase }) => html`<li class=${`phase-${phase}`}><b>${millis(at - round.from)}</b> ${PHASES[phase]}</li>`)}
      </ol>
    </figure>
  `;
}

/** A stale read is red, and twice as high: the colour is not all that tells it. @param {{ read: Read, x: number }} props */
function Mark({ read: { way, value, source, is_stale, stale_ms }, x }) {
  const height = is_stale ? 28 : 14;
  const title = `${value}, from ${source === 'cache' ? 'the cache' : 'Postgres'}${is_stale ? `, stale for ${millis(stale_ms)}` : ''}`;
  return html`
    <rect class=${`read ${is_stale ? 'stale' : source}`} data-way=${way} data-stale=${is_stale} x=${x - 1.1} width="2.2" y=${LANE[way] - height / 2 + 4} height=${height}>
      <title>${title}</title>
    </rect>
  `;
}
