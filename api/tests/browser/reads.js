// Looking a product up.

import assert from 'node:assert/strict';
import { again, explained, inPage, panel, press, settled } from './page.js';
import { entry, products, sql, stage } from './stage.js';

inPage('a product is shown as Postgres has it, first from there and then from Redis, and why', async (page) => {
  const [, product] = await products();
  await press(page, product);
  assert.equal(await page.locator('[data-product=price]').textContent(), product.price);
  assert.equal(await page.locator('[data-product=stock]').textContent(), String(product.stock_quantity));
  assert.match(await page.locator('.product').textContent(), new RegExp(product.sku));
  await again(page);
  assert.match(await page.locator('.verdict').textContent(), /Hit\s*from Redis/);
  assert.match(await page.locator('[data-fact=why]').textContent(), /change stream proves it|was read from Postgres/);
  assert.match(await page.locator('[data-fact=age]').textContent(), /ago or later/);
  const told = await explained(page);
  assert.equal(told.origin, 'redis');
  assert.ok((await entry(`products:${product.id}`)).includes(`"price":"${product.price}"`), 'Redis has what is shown');
});

inPage('a first read is a miss that is stored, and says so', async (page) => {
  // The page asks for the latest, and so for all that there are; this one comes after that.
  await panel(page, 'look-up').locator('.chip').first().waitFor();
  await page.locator('[data-signal="Live feed"].ok').waitFor();
  await sql(`insert into products (id, sku, name, category, price) values ('01990000-0000-7000-8000-000000000001', 'UNREAD', 'Never read before', 'audio', 5)`);
  const product = { id: '01990000-0000-7000-8000-000000000001' };
  // Once its change has been told, nothing has the page read it a second time.
  await panel(page, 'feed').locator(`.name[title^="products:${product.id}"]`).first().waitFor();
  await page.getByLabel('Product id').fill(product.id);
  await page.getByRole('button', { name: 'Look up' }).click();
  await page.locator('.product', { hasText: product.id }).waitFor();
  const told = await explained(page);
  assert.deepEqual([told.origin, told.refused_first_by, told.fill], ['postgres', 'missing', 'filled']);
  assert.match(await page.locator('.verdict').textContent(), /Miss\s*from Postgres/);
  assert.match(await page.locator('[data-fact=why]').textContent(), /Nothing was cached under this key\. It was read from Postgres, and is cached now\./);
  await sql(`delete from products where id = '${product.id}'`);
  await page.getByText('There is no product').waitFor();
}, { breaks: true });

inPage('a read goes through the replica that is chosen, and its name is shown', async (page) => {
  const [product] = await products();
  await press(page, product);
  for (const address of stage.replicas.toReversed()) {
    await panel(page, 'look-up').getByRole('radio', { name: address }).check();
    await page.locator('[data-fact=replica]', { hasText: `api ${address}` }).waitFor();
    await settled(page);
  }
});

inPage('a product that is not there, and an id that is none, are answered in words', async (page) => {
  await settled(page);
  await page.getByLabel('Product id').fill('00000000-0000-7000-8000-00000000dead');
  await page.keyboard.press('Enter');
  await page.getByText('There is no product').waitFor();
  await page.getByLabel('Product id').fill('nonsense');
  await page.keyboard.press('Enter');
  await panel(page, 'look-up').getByRole('alert').waitFor();
  assert.match(await panel(page, 'look-up').getByRole('alert').textContent(), /cannot be read/);
}, { breaks: true });
