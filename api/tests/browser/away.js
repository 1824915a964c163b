// What is away, and what the page then says. Each test leaves everything as it was.

import assert from 'node:assert/strict';
import { again, explained, inPage, panel, press, until } from './page.js';
import { kill, products, sql, start, startAgain, stop } from './stage.js';

const ready = (page) => panel(page, 'fleet').locator('tr[data-role=invalidator][data-state=ready]').waitFor();
const noNotice = (page) => until('no notice', async () => (await page.locator('[data-notice]').count()) === 0);

inPage('an invalidator that was killed is shown as silent, then as gone, and its successor as ready', async (page) => {
  await ready(page);
  await kill('invalidator');
  await panel(page, 'fleet').locator('tr[data-role=invalidator][data-state=silent]').waitFor();
  await page.locator('.notice', { hasText: 'is silent' }).waitFor();
  await panel(page, 'fleet').getByText('Nobody applies changes.').waitFor();
  await page.locator('[data-notice=invalidator]', { hasText: 'No invalidator runs.' }).waitFor();
  await page.locator('[data-signal=Invalidator].bad', { hasText: 'away' }).waitFor();
  await start('invalidator');
  await ready(page);
  await noNotice(page);
});

inPage('without the demonstration its buttons are off, and say why', async (page) => {
  const [product] = await products();
  await press(page, product);
  await until('it is there', async () => page.getByRole('button', { name: 'Save by plain SQL' }).isEnabled());
  await kill('demo');
  await until('it is gone', async () => page.getByRole('button', { name: 'Save by plain SQL' }).isDisabled());
  assert.match(await page.locator('#no-sql').textContent(), /It needs the demo process, which is not running/);
  assert.ok(await page.getByRole('button', { name: 'Run the usual way beside it' }).isDisabled());
  await start('demo');
  await until('it is back', async () => page.getByRole('button', { name: 'Save by plain SQL' }).isEnabled());
});

inPage('without Redis the page says so, and reads go on', async (page) => {
  const [product] = await products();
  await press(page, product);
  await stop('redis');
  await page.locator('[data-notice=redis]', { hasText: 'Redis is away.' }).waitFor();
  await again(page);
  assert.notEqual((await explained(page)).origin, 'redis');
  await page.locator('.verdict.memory, .verdict.bypass').waitFor();
  await startAgain('redis');
  await page.locator('[data-signal=Redis].ok').waitFor();
  await ready(page);
  await noNotice(page);
  await until('a hit', async () => { await again(page); return (await explained(page)).origin === 'redis'; });
}, { breaks: true });

inPage('without Postgres the page says so, and goes on when it is back', async (page) => {
  const product = (await products())[1];
  await press(page, product);
  await stop('postgres');
  await page.locator('[data-notice=postgres]', { hasText: 'Postgres is away.' }).waitFor();
  await page.locator('[data-signal=Postgres].bad').waitFor();
  await startAgain('postgres');
  await page.locator('[data-signal=Postgres].ok').waitFor();
  await ready(page);
  await noNotice(page);
  await until('a change is followed again', async () => {
    await sql(`update products set stock_quantity = 88 where id = '${product.id}'`);
    return (await page.locator('[data-product=stock]').textContent()) === '88';
  });
}, { breaks: true });
