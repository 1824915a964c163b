// The page in a browser, and what a test wants of it: parts by their names, and that the console stays empty.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { stage } from './stage.js';

export const modules = createRequire(`${process.env.MODULES}/`);
const { chromium } = modules('playwright-core');

// Root has no sandbox, and CI runs as root.
export const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] });

/** How long a condition may take to come true, in ms: far longer than any does. */
const PATIENCE = 30_000;

/** What the browser itself writes where a server is away, which is what some tests are about. */
const OF_SERVERS_AWAY = /^Failed to load resource/;

/**
 * A test with a page of its own. It fails where the page writes an error to the console.
 * @param {string} promise
 * @param {(page: any) => Promise<void>} keep
 */
export function inPage(promise, keep, { breaks = false, url = `http://${stage.replicas[0]}/`, ...options } = {}) {
  test(promise, { timeout: 120_000 }, async () => {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce', ...options });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    const errors = [];
    page.on('console', (message) => {
      const text = message.text();
      if (message.type() === 'error' && !(breaks && OF_SERVERS_AWAY.test(text))) errors.push(`${text} ${message.location().url}`);
    });
    page.on('response', async (response) => {
      if (response.status() >= 500 && !breaks) errors.push(`${response.url()} answered ${await response.text().catch(String)}`);
    });
    page.on('pageerror', (error) => errors.push(error.stack));
    try {
      await page.goto(typeof url === 'function' ? await url() : url);
      await keep(page);
      assert.deepEqual(errors, [], 'the console is empty');
    } finally {
      await context.close();
    }
  });
}

/** A part of the page. */
export const panel = (page, name) => page.locator(`.panel-${name}`);

/** Presses one of the products, and waits for its answer. */
export async function press(page, { id, name }) {
  await page.locator('.chips').getByRole('button', { name, exact: true }).click();
  await page.locator('.product', { hasText: id }).waitFor();
  await settled(page);
}

/** Waits until the read under way is over. */
export const settled = (page) => page.locator('.outcome[aria-busy="false"] .answer').waitFor();

/** Reads the same product again. */
export async function again(page) {
  const before = await explanation(page);
  await page.getByRole('button', { name: 'Read again' }).click();
  await until('another answer', async () => (await explanation(page)) !== before);
  await settled(page);
}

const explanation = (page) => page.locator('.answer pre').textContent();

/** What the explanation that is shown says. */
export const explained = async (page) => JSON.parse(await explanation(page));

/** Changes what is looked at. */
export async function change(page, { price, stock }, way) {
  await page.getByLabel('Price').fill(price);
  await page.getByLabel('Stock').fill(stock);
  await page.getByRole('button', { name: way }).click();
}

/** The moments of the last change that is shown: each with the time that it says, in µs. */
export async function moments(page, xid) {
  const list = page.locator(`.moments[data-xid="${xid}"] > li`);
  return list.evaluateAll((lines) => lines.map((line) => ({ id: line.dataset.moment, at_us: Number(line.dataset.atUs), text: line.textContent })));
}

/** Waits until something holds, and answers with it. */
export async function until(what, look) {
  const end = Date.now() + PATIENCE;
  for (let last; ; last = undefined) {
    try {
      const found = await look();
      if (found) return found;
      last = found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) assert.fail(`waited for: ${what}; last seen: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Asks a process as somebody else would. */
export async function get(address, path, headers = {}) {
  return (await fetch(`http://${address}${path}`, { headers })).json();
}
