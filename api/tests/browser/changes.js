// Changing a product, and following the change from the commit to the next read.

import assert from 'node:assert/strict';
import { change, explained, inPage, moments, panel, press, until } from './page.js';
import { entry, products, rows, sql, stage } from './stage.js';

/** The row as Postgres has it, and the transaction that made it so. */
const row = async (id) => (await rows(`select price::text, stock_quantity, xmin::text as xid from products where id = '${id}'`))[0];

/** Waits until a change is followed to the next read, and answers with its moments. */
async function followed(page, id, price) {
  const { xid } = await until('the row in Postgres', async () => { const now = await row(id); return now.price === price && now; });
  const moment = (name) => page.locator(`.moments[data-xid="${xid}"] [data-moment=${name}]`);
  await moment('read').filter({ hasText: `${price},` }).waitFor();
  // Who it was has a name once the page has heard which processes run: within a second.
  await moment('received').filter({ hasNotText: 'process ' }).waitFor();
  return moments(page, xid);
}

/** What has to hold of each change, whoever wrote it. */
async function holds(page, id, price, stock, found) {
  const at = Object.fromEntries(found.map((moment) => [moment.id, moment]));
  assert.ok(at.commit.at_us <= at.received.at_us && at.received.at_us <= at.applied.at_us && at.applied.at_us <= at.read.at_us, JSON.stringify(found));
  assert.match(at.commit.text, /Postgres/);
  assert.match(at.received.text, /invalidator 127\.0\.0\.1:\d+, its clock/);
  assert.match(at.read.text, /api 127\.0\.0\.1:\d+, its clock/);
  assert.equal(await page.locator('[data-product=price]').textContent(), price);
  assert.equal(await page.locator('[data-product=stock]').textContent(), String(stock));
  const now = await row(id);
  assert.deepEqual([now.price, now.stock_quantity], [price, stock]);
  assert.ok((await entry(`products:${id}`)).includes(`"price":"${price}"`), 'Redis has what is shown');
}

inPage('a change through the API is followed from the write to the next read, each moment by the clock that saw it', async (page) => {
  const product = (await products())[2];
  await press(page, product);
  await panel(page, 'look-up').getByRole('radio', { name: stage.replicas[1] }).check();
  await page.locator('[data-fact=replica]', { hasText: stage.replicas[1] }).waitFor();
  await change(page, { price: '41.25', stock: '17' }, 'Save through the API');
  const found = await followed(page, product.id, '41.25');
  await holds(page, product.id, '41.25', 17, found);
  const at = Object.fromEntries(found.map((moment) => [moment.id, moment]));
  assert.ok(at.began.at_us <= at.commit.at_us && at.began.at_us <= at.confirmed.at_us, 'it began before it was committed');
  assert.match(at.began.text, new RegExp(stage.replicas[0]));
  assert.match(at.read.text, new RegExp(stage.replicas[1]));
  assert.equal((await explained(page)).origin, 'redis');
});

inPage('a change by plain SQL is followed in the same way, and its statement is shown', async (page) => {
  const product = (await products())[3];
  await press(page, product);
  await page.getByRole('button', { name: 'Save by plain SQL', disabled: false }).waitFor();
  await until('the demonstration', async () => page.getByRole('button', { name: 'Save by plain SQL' }).isEnabled());
  await change(page, { price: '42.50', stock: '3' }, 'Save by plain SQL');
  const found = await followed(page, product.id, '42.50');
  await holds(page, product.id, '42.50', 3, found);
  const began = found.find(({ id }) => id === 'began');
  assert.match(began.text, /update/i);
  assert.match(began.text, /demo 127\.0\.0\.1:\d+/);
});

inPage('a change by somebody else is followed as well, without being asked for', async (page) => {
  const product = (await products())[4];
  await press(page, product);
  await page.locator('[data-signal="Live feed"].ok').waitFor();
  await sql(`update products set price = 43.75, stock_quantity = 9 where id = '${product.id}'`);
  await holds(page, product.id, '43.75', 9, await followed(page, product.id, '43.75'));
});

inPage('a price that cannot be is refused in words, and nothing is written', async (page) => {
  const product = (await products())[5];
  await press(page, product);
  await change(page, { price: 'lots', stock: '1' }, 'Save through the API');
  await page.locator('.edit').getByRole('alert').waitFor();
  assert.match(await page.locator('.edit').getByRole('alert').textContent(), /price .*decimal number/);
  assert.equal((await row(product.id)).price, product.price);
}, { breaks: true });
