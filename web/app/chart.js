// One chart: up to two lines over the last three minutes, drawn by uPlot; its last value stands beside it as text.

import uPlot from '../vendor/uplot/uPlot.js';
import { short } from './format.js';
import { useStore } from './store.js';
import { theme } from './theme.js';
import { html, useEffect, useLayoutEffect, useRef } from './ui.js';

/** @typedef {{ label: string, colour: string, values: (number | null)[] }} Series */

/** The height of a drawing, in CSS pixels. */
const HEIGHT = 96;

/** How many seconds are shown. */
const SPAN = 180;

/**
 * @param {{ title: string, unit: string, note?: string, at: number[], series: Series[], max?: number }} props
 */
export function Chart({ title, unit, note, at, series, max }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const plot = useRef(/** @type {uPlot | null} */ (null));
  const shown = useStore(theme);
  const data = /** @type {uPlot.AlignedData} */ ([at, ...series.map(({ values }) => values)]);

  useLayoutEffect(() => {
    const target = box.current;
    if (!target) return;
    const drawn = new uPlot(options(target, series, max), data, target);
    const fit = new ResizeObserver(() => drawn.setSize({ width: target.clientWidth, height: HEIGHT }));
    fit.observe(target);
    plot.current = drawn;
    return () => {
      fit.disconnect();
      drawn.destroy();
    };
  }, [shown]);
  useEffect(() => plot.current?.setData(data), [at]);

  const values = series.map(({ label, values }) => ({ label, last: values.at(-1) ?? null }));
  const said = values.map(({ label, last }) => `${label} ${last === null ? 'none' : `${short(last)} ${unit}`}`).join(', ');
  return html`
    <figure class="chart" data-chart=${title}>
      <figcaption>
        <span class="chart-title">${title}</span>
        <span class="chart-values">
          ${values.map(({ label, last }, n) => html`
            <span class="chart-value">${series.length > 1 && html`<i class=${`swatch ${series[n].colour}`} aria-hidden="true"></i><span class="faint">${label}</span>`}
              <b>${last === null ? '–' : short(last)}</b>${last !== null && html`<span class="faint"> ${unit}</span>`}</span>`)}
        </span>
      </figcaption>
      <div ref=${box} class="drawing" role="img" aria-label=${`${title}, the last three minutes; now: ${said}`}></div>
      ${note && html`<p class="chart-note">${note}</p>`}
    </figure>
  `;
}

/**
 * @param {HTMLElement} target
 * @param {Series[]} series
 * @param {number | undefined} max
 * @returns {uPlot.Options}
 */
function options(target, series, max) {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  const axis = { stroke: colour('faint'), font: '11px system-ui, sans-serif', grid: { stroke: colour('grid'), width: 1 }, ticks: { show: false } };
  return {
    width: Math.max(target.clientWidth, 100),
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [6, 4, 0, 0],
    scales: {
      x: { time: true, range: (_, __, to) => [to - SPAN, to] },
      y: { range: (_, __, to) => [0, max ?? Math.max(to * 1.15, 1)] },
    },
    axes: [
      { ...axis, size: 22, space: 70, values: [[1, '{HH}:{mm}:{ss}', null, null, null, null, null, null, 1]] },
      { ...axis, size: 40, space: 28, values: (_, ticks) => ticks.map(short) },
    ],
    series: [
      {},
      ...series.map(({ label, colour: name }, n) => ({
        label, stroke: colour(name), width: 1.5, points: { show: false }, ...(series.length === 1 && n === 0 ? { fill: colour(`${name}-wash`) } : {}),
      })),
    ],
  };
}
