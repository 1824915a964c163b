// The live feed: its lines, its filters, and a connection that breaks.

import assert from 'node:assert/strict';
import { createServer, connect } from 'node:net';
import { inPage, panel, press, until } from './page.js';
import { products, rows, sql, stage } from './stage.js';

inPage('the feed names what was done, by its transaction, newest first', async (page) => {
  const [product] = await products();
  await page.locator('[data-signal="Live feed"].ok').waitFor();
  await sql(`update products set stock_quantity = stock_quantity + 1 where id = '${product.id}'`);
  const [{ xid }] = await rows(`select xmin::text as xid from products where id = '${product.id}'`);
  const line = panel(page, 'feed').locator('tr[data-done]', { hasText: `xid ${xid}` }).first();
  await line.waitFor();
  assert.match(await line.textContent(), /replaced|removed|tag|visible/);
});

inPage('the feed shows one key, or one table, alone', async (page) => {
  const [one, other] = await products();
  const feed = panel(page, 'feed');
  await feed.getByPlaceholder('products:…').fill(`products:${one.id}`);
  await feed.getByRole('button', { name: 'Filter' }).click();
  await feed.getByText(`Of key products:${one.id}; connected.`).waitFor();
  await sql(`update products set stock_quantity = stock_quantity + 1 where id in ('${other.id}'); update products set stock_quantity = stock_quantity + 1 where id = '${one.id}'`);
  await feed.locator('tr[data-done]').first().waitFor();
  const names = await feed.locator('tr[data-done] .name').evaluateAll((cells) => cells.map((cell) => cell.title.split(',')[0]));
  assert.deepEqual([...new Set(names)], [`products:${one.id}`]);
  await feed.getByRole('combobox').selectOption('table');
  await feed.getByPlaceholder('products:…').fill('public.products');
  await feed.getByRole('button', { name: 'Filter' }).click();
  await feed.getByText('Of table public.products; connected.').waitFor();
  await sql(`update products set stock_quantity = stock_quantity + 1 where id = '${other.id}'`);
  await feed.locator(`tr[data-done] .name[title^="products:${other.id}"]`).first().waitFor();
  await feed.getByPlaceholder('products:…').fill('no.such_table');
  await feed.getByRole('button', { name: 'Filter' }).click();
  await feed.getByText(/disconnected|connected\./).waitFor();
}, { breaks: true });

/** A way to the first replica that can be cut. */
const way = { sockets: new Set(), server: null, isCut: false };

async function throughWay() {
  way.server = createServer((from) => {
    if (way.isCut) return from.destroy();
    const [host, port] = stage.replicas[0].split(':');
    const to = connect(Number(port), host);
    for (const [one, other] of [[from, to], [to, from]]) {
      way.sockets.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy()).on('close', () => { way.sockets.delete(one); other.destroy(); });
    }
  });
  await new Promise((resolve) => way.server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${way.server.address().port}/`;
}

inPage('a feed whose connection broke says so, and shows afterwards what was done meanwhile', async (page) => {
  const [product] = await products();
  await press(page, product);
  await page.locator('[data-signal="Live feed"].ok').waitFor();
  // Only an event that has an id can be gone on from.
  await sql(`update products set stock_quantity = 70 where id = '${product.id}'`);
  await page.locator('[data-product=stock]', { hasText: '70' }).waitFor();
  way.isCut = true;
  for (const socket of way.sockets) socket.destroy();
  await page.locator('[data-signal="Live feed"].bad', { hasText: 'disconnected' }).waitFor();
  await page.locator('[data-notice=live]').waitFor();
  await sql(`update products set stock_quantity = 71 where id = '${product.id}'`);
  const [{ xid }] = await rows(`select xmin::text as xid from products where id = '${product.id}'`);
  way.isCut = false;
  await page.getByRole('button', { name: 'Try now' }).click();
  await page.locator('[data-signal="Live feed"].ok').waitFor();
  await panel(page, 'feed').locator('tr[data-done]', { hasText: `xid ${xid}` }).first().waitFor();
  await page.locator('[data-product=stock]', { hasText: '71' }).waitFor();
  await until('no notice', async () => (await page.locator('[data-notice]').count()) === 0);
  way.server.close();
}, { breaks: true, url: throughWay });
