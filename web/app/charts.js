// The live charts: what the processes count and measure, once a second, all of them together.

import { Chart } from './chart.js';
import { fleet } from './fleet.js';
import { count } from './format.js';
import { savedInAll } from './history.js';
import { Empty, Panel } from './panel.js';
import { useStore } from './store.js';
import { html } from './ui.js';

/** @import { Sample } from './history.js' */

export function Charts() {
  const now = useStore(fleet);
  const saved = now ? savedInAll(now.members) : null;
  const side = saved === null ? null : html`<span class="tally"><b data-saved=${saved}>${count(saved)}</b> queries saved so far</span>`;
  return html`
    <${Panel} name="charts" wide title="Live" side=${side}
      lead="From the processes’ own metrics, each second, of all replicas and workers together; of latencies the slowest process counts.">
      ${now ? html`<${All} samples=${now.samples} />` : html`<${Empty}>Waiting for the first figures…<//>`}
    <//>
  `;
}

/** @param {{ samples: Sample[] }} props */
function All({ samples }) {
  const at = samples.map((sample) => sample.at);
  const line = (/** @type {Exclude<keyof Sample, 'at'>} */ name, /** @type {string} */ label, colour = 'accent') => ({
    label, colour, values: samples.map((sample) => sample[name]),
  });
  return html`
    <div class="charts">
      <${Chart} title="Hit rate" unit="%" at=${at} max=${100} series=${[line('hitRate', 'hit rate', 'good')]} />
      <${Chart} title="Postgres queries saved" unit="/s" at=${at} series=${[line('saved', 'saved')]} />
      <${Chart} title="Answer time" unit="ms" at=${at} series=${[line('p50', 'p50'), line('p99', 'p99', 'second')]} />
      <${Chart} title="Changes applied" unit="/s" at=${at} series=${[line('changes', 'changes')]} />
      <${Chart} title="Commit to invalidated" unit="ms" at=${at} series=${[line('commitP50', 'p50'), line('commitP99', 'p99', 'second')]} />
      <${Chart} title="Freshness" unit="ms" at=${at} series=${[line('freshness', 'freshness')]} />
    </div>
  `;
}
