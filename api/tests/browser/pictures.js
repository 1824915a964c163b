// Pictures of the page for README, as it looks on the system of these tests.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { browser, change, get, inPage, panel, press, until } from './page.js';
import { products, stage } from './stage.js';

/** How much of the page is on the pictures for README, in CSS pixels. */
const HEIGHT = 1290;

/** Writes a picture as WebP, which takes a third of what PNG does: made by the browser, which has an encoder. */
async function save(name, png) {
  const page = await browser.newPage();
  const webp = await page.evaluate(async (url) => {
    const image = await createImageBitmap(await (await fetch(url)).blob());
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext('2d').drawImage(image, 0, 0);
    const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/webp', quality: 0.92 })).arrayBuffer());
    return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ''));
  }, `data:image/png;base64,${png.toString('base64')}`);
  await page.close();
  await writeFile(join(process.env.PICTURES, `${name}.webp`), Buffer.from(webp, 'base64'));
}

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
  const product = (await products())[0];
  await press(page, product);
  const stop = busy();
  const drawn = () => page.locator('[data-chart=Freshness] .chart-value b').textContent();
  // Some seconds of charts: as many as there are different values.
  const seen = new Set();
  const seconds = (count) => until('some of each chart', async () => seen.add(await drawn()).size >= count);
  await seconds(12);
  await stop();
  for (const [price, stock] of [['189.00', '43'], ['195.00', '42'], ['199.00', '41']]) {
    await change(page, { price, stock }, 'Save through the API');
    await page.locator('.moments [data-moment=read]', { hasText: price }).waitFor();
  }
  await seconds(seen.size + 2);
}

for (const colorScheme of ['dark', 'light']) {
  inPage(`a picture of the page, ${colorScheme}`, async (page) => {
    await shown(page);
    await save(`dashboard-${colorScheme}`, await page.screenshot({ fullPage: true, clip: { x: 0, y: 0, width: 1280, height: HEIGHT } }));
  }, { colorScheme, viewport: { width: 1280, height: HEIGHT } });
}

inPage('a picture of the page on a phone', async (page) => {
  await shown(page);
  await page.evaluate(() => scrollTo(0, 0));
  await save('dashboard-phone', await page.screenshot());
}, { colorScheme: 'dark', viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });

inPage('a picture of the usual way', async (page) => {
  await press(page, (await products())[7]);
  const usual = panel(page, 'usual');
  const run = usual.getByRole('button', { name: 'Run the usual way beside it' });
  await until('the demonstration', async () => run.isEnabled());
  await run.click();
  await usual.locator('[data-usual=over]').waitFor({ timeout: 60_000 });
  await save('usual-way', await usual.screenshot());
}, { colorScheme: 'light', viewport: { width: 1280, height: 1200 } });
