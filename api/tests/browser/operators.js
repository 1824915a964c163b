// What operators do: compare, clear, list and explain keys; and the token that is theirs.

import assert from 'node:assert/strict';
import { again, explained, get, inPage, panel, press, until } from './page.js';
import { products, sql, stage } from './stage.js';

inPage('cache and database are measured side by side, and reads through the cache are hits', async (page) => {
  const compare = panel(page, 'compare');
  await compare.getByRole('button', { name: 'Measure' }).click();
  await compare.locator('tr[data-row=p50]').waitFor();
  assert.equal(await compare.locator('tr[data-row]').count(), 5);
  assert.match(await compare.textContent(), /300 reads each of \d+ products, \d+ of them hits/);
});

inPage('clearing opens the cache under another generation, and what is read then comes from Postgres', async (page) => {
  const [product] = await products();
  await press(page, product);
  await again(page);
  const before = (await explained(page)).control.generation;
  await page.getByRole('button', { name: 'Clear the cache' }).click();
  await page.getByText('Cleared: open again').waitFor();
  await again(page);
  const after = await explained(page);
  assert.notEqual(after.control.generation, before);
  assert.deepEqual([after.origin, after.refused_first_by], ['postgres', 'other-generation']);
  assert.match(await page.locator('[data-fact=why]').textContent(), /cleared or opened anew/);
});

inPage('keys are listed by the beginnings of their names, and one is explained beside what Postgres holds', async (page) => {
  const [product] = await products();
  await press(page, product);
  await again(page);
  const keys = panel(page, 'keys');
  await keys.getByLabel('Keys that begin with').fill(`products:${product.id}`);
  await keys.getByRole('button', { name: 'List', exact: true }).click();
  await keys.getByRole('button', { name: `Explain products:${product.id}` }).click();
  await keys.locator('.explained').getByText('the entry holds the same').waitFor();
  const told = await get(stage.replicas[0], `/cache/explain/products:${product.id}`);
  assert.equal(told.is_served, true);
  await keys.locator('.explained .badge', { hasText: /^served$/ }).waitFor();
  await keys.getByLabel('Keys that begin with').fill('nothing:');
  await keys.getByRole('button', { name: 'List', exact: true }).click();
  await keys.getByText('No key begins so.').waitFor();
});

inPage('many keys come page by page', async (page) => {
  await sql(`insert into products (id, sku, name, category, price, created_at)
    select ('01000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'MANY-' || n, 'One of many ' || n, 'many', n, '2024-01-01' from generate_series(1, 600) n`);
  const ids = (await products()).filter(({ sku }) => sku.startsWith('MANY-')).map(({ id }) => id);
  for (let at = 0; at < ids.length; at += 100) await get(stage.replicas[0], `/products/batch?ids=${ids.slice(at, at + 100).join(',')}`);
  const keys = panel(page, 'keys');
  await keys.getByRole('button', { name: 'List', exact: true }).click();
  await keys.getByText(/Page 1: \d+ keys, and there are more/).waitFor();
  await keys.getByRole('button', { name: 'Next page' }).click();
  await keys.getByText(/Page 2: \d+ keys/).waitFor();
  await sql(`delete from products where sku like 'MANY-%'`);
});

inPage('a replica that wants a token has the page ask for it, and then shows all', async (page) => {
  const dialog = page.getByRole('dialog', { name: 'A token is needed' });
  await dialog.waitFor();
  await dialog.getByLabel('Token').fill('a guess');
  await page.keyboard.press('Enter');
  await dialog.getByText('This is not the token.').waitFor();
  await dialog.getByLabel('Token').fill(stage.token);
  await page.keyboard.press('Enter');
  await page.locator('[data-signal="Live feed"].ok').waitFor();
  assert.equal(await dialog.count(), 0);
  await page.getByRole('button', { name: 'List', exact: true }).click();
  await panel(page, 'keys').getByText(/Page 1/).waitFor();
  await page.reload();
  await page.locator('[data-signal="Live feed"].ok').waitFor();
  assert.equal(await dialog.count(), 0, 'it is kept for this tab');
  await until('nothing of it outlives the tab', async () => (await page.evaluate(() => JSON.stringify(localStorage))) === '{}');
}, { breaks: true, url: `http://${stage.guarded}/` });
