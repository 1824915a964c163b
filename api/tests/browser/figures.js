// What the processes count, in charts and in the list of processes.

import assert from 'node:assert/strict';
import { again, get, inPage, panel, press, until } from './page.js';
import { products, stage } from './stage.js';

inPage('every process is listed where it listens, and ready', async (page) => {
  const fleet = panel(page, 'fleet');
  for (const address of [...stage.replicas, stage.guarded]) {
    await fleet.locator('tr[data-role=api][data-state=ready]', { hasText: address }).waitFor();
  }
  await fleet.locator('tr[data-role=invalidator][data-state=ready]', { hasText: 'from postgres' }).waitFor();
  await fleet.locator('tr[data-role=demo]').waitFor();
  assert.equal(await fleet.locator('tr[data-role=api]').count(), 3);
});

/** What a replica's own metrics say of its hits. */
async function hits(address) {
  const text = await (await fetch(`http://${address}/metrics`)).text();
  return Number(/^freshline_reads_total\{[^}]*outcome="hit"[^}]*\} (\d+)/m.exec(text)?.[1] ?? 0);
}

inPage('the queries that Postgres was saved are the hits that the replicas count', async (page) => {
  const [product] = await products();
  await press(page, product);
  await again(page);
  await again(page);
  await until('the same number', async () => {
    const counted = await Promise.all([...stage.replicas, stage.guarded].map(hits));
    const all = counted.reduce((sum, one) => sum + one, 0);
    return all > 0 && Number(await page.locator('[data-saved]').getAttribute('data-saved')) === all;
  });
});

inPage('the charts show hit rate, times, changes, freshness and what was saved, each with its last value as text', async (page) => {
  for (const name of ['Hit rate', 'Postgres queries saved', 'Answer time', 'Changes applied', 'Commit to invalidated', 'Freshness']) {
    const chart = page.locator(`[data-chart="${name}"]`);
    await chart.locator('canvas').waitFor();
    assert.match(await chart.getByRole('img').getAttribute('aria-label'), /now: /);
  }
  await until('freshness within its bound', async () => {
    const text = await page.locator('[data-chart=Freshness] .chart-value b').textContent();
    return Number(text.replace(',', '')) > 0 && Number(text.replace(',', '')) < 5000;
  });
});

inPage('the head says that all is well', async (page) => {
  for (const name of ['Live feed', 'Redis', 'Postgres', 'Invalidator']) await page.locator(`[data-signal="${name}"].ok`).waitFor();
  assert.equal(await page.locator('[data-notice]').count(), 0);
  assert.equal((await get(stage.replicas[0], '/health')).status, 'ok');
});
