// The usual way, beside Freshline.

import assert from 'node:assert/strict';
import { inPage, panel, press, until } from './page.js';
import { products } from './stage.js';

inPage('the usual way is off until it is pressed, and then has stale reads where Freshline has none', async (page) => {
  const product = (await products())[7];
  await press(page, product);
  const usual = panel(page, 'usual');
  assert.equal(await usual.locator('.strip').count(), 0);
  await usual.getByText('demonstration', { exact: true }).waitFor();
  const run = usual.getByRole('button', { name: 'Run the usual way beside it' });
  await until('the demonstration', async () => run.isEnabled());
  await run.click();
  await usual.locator('[data-usual=over]').waitFor({ timeout: 60_000 });
  const count = async (way, what) => Number(await usual.locator(`[data-total=${way}]`).getAttribute(`data-${what}`));
  assert.ok((await count('usual', 'stale')) > 0, 'a held commit makes the usual way stale');
  assert.equal(await count('freshline', 'stale'), 0);
  assert.ok((await count('freshline', 'reads')) > 0);
  assert.equal(await usual.locator('.strip').count(), 3);
  // What is counted is what is drawn.
  assert.equal(await usual.locator('rect[data-way=usual][data-stale=true]').count(), await count('usual', 'stale'));
  assert.equal(await usual.locator('rect[data-way=usual]').count(), await count('usual', 'reads'));
});
