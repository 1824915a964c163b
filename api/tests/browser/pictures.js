// Pictures of the page for README, as it looks on the system of these tests.

import { join } from 'node:path';
import { change, get, inPage, panel, press, until } from './page.js';
import { products, stage } from './stage.js';

/** Has the replicas do something worth a chart, until `stop`. */
function busy() {
  let isOver = false;
  const all = (async () => {
    const ids = (await products()).map(({ id }) => id);
    for (let n = 0; !isOver; n += 1) await get(stage.replicas[n % 2], `/products/${ids[n % ids.length]}`);
  })();
  return async () => { isOver = true; await all; };
}

/** Fills the page with what it is there to show. */
async function shown(page) {
  const stop = busy();
  const product = (await products())[0];
  await press(page, product);
  await change(page, { price: '199.00', stock: '41' }, 'Save through the API');
  await page.locator('.moments [data-moment=read]', { hasText: '199.00' }).waitFor();
  await panel(page, 'compare').getByRole('button', { name: 'Measure' }).click();
  await panel(page, 'compare').locator('tr[data-row=p50]').waitFor();
  const drawn = () => page.locator('[data-chart=Freshness] .chart-value b').textContent();
  // Some seconds of charts: as many as there are different values.
  const seen = new Set();
  await until('some of each chart', async () => seen.add(await drawn()).size > 12);
  await stop();
}

for (const colorScheme of ['dark', 'light']) {
  inPage(`a picture of the page, ${colorScheme}`, async (page) => {
    await shown(page);
    await page.screenshot({ path: join(process.env.PICTURES, `dashboard-${colorScheme}.png`), clip: { x: 0, y: 0, width: 1280, height: 1040 }, fullPage: true });
  }, { colorScheme, viewport: { width: 1280, height: 1040 } });
}

inPage('a picture of the page on a phone', async (page) => {
  await shown(page);
  await page.screenshot({ path: join(process.env.PICTURES, 'dashboard-phone.png') });
}, { colorScheme: 'dark', viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });

inPage('a picture of the usual way', async (page) => {
  await press(page, (await products())[7]);
  const usual = panel(page, 'usual');
  const run = usual.getByRole('button', { name: 'Run the usual way beside it' });
  await until('the demonstration', async () => run.isEnabled());
  await run.click();
  await usual.locator('[data-usual=over]').waitFor({ timeout: 60_000 });
  await usual.screenshot({ path: join(process.env.PICTURES, 'usual-way.png') });
}, { colorScheme: 'light', viewport: { width: 1280, height: 900 } });
