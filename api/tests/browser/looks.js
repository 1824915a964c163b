// How the page looks and is used: by keyboard alone, on a phone, dark and light, and for those who do not see it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { inPage, modules, panel, press, settled } from './page.js';
import { products } from './stage.js';

const AXE = modules.resolve('axe-core/axe.min.js');

/** What is wrong for those who use other means than eyes and a mouse: none of WCAG 2.2 A and AA that can be found by a program. */
async function faults(page) {
  await page.evaluate(await readFile(AXE, 'utf8'));
  const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join('; ')}`);
}


/** Opens all that can be opened. */
async function openAll(page) {
  await settled(page);
  await panel(page, 'compare').getByRole('button', { name: 'Measure' }).click();
  await panel(page, 'compare').locator('tr[data-row=p50]').waitFor();
  await panel(page, 'keys').locator('tbody button').first().click();
  await panel(page, 'keys').locator('.explained .facts').waitFor();
  for (const summary of await page.locator('summary').all()) await summary.click();
}

for (const colorScheme of ['dark', 'light']) {
  inPage(`the page is ${colorScheme} where the system is, and anybody can read and use it`, async (page) => {
    assert.equal(await page.locator('html').getAttribute('data-theme'), colorScheme);
    await openAll(page);
    assert.deepEqual(await faults(page), []);
    await page.getByRole('button', { name: /Show the page/ }).click();
    const other = colorScheme === 'dark' ? 'light' : 'dark';
    assert.equal(await page.locator('html').getAttribute('data-theme'), other);
    await page.reload();
    assert.equal(await page.locator('html').getAttribute('data-theme'), other, 'the choice is kept');
  }, { colorScheme });
}

inPage('on a phone nothing is wider than the screen', async (page) => {
  await openAll(page);
  const [product] = await products();
  await press(page, product);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
  const wide = await page.evaluate(() => [...document.querySelectorAll('body *')]
    .filter((element) => element.getBoundingClientRect().right > 391 && !element.closest('.scroll, pre, svg, canvas, .hidden, .uplot'))
    .map((element) => element.outerHTML.slice(0, 120)));
  assert.deepEqual(wide, []);
  assert.deepEqual(await faults(page), []);
}, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });

inPage('the keyboard alone looks up, chooses a replica, changes, and sees where it is', async (page) => {
  const product = (await products())[6];
  await settled(page);
  const focused = () => page.evaluate(() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    const around = getComputedStyle(document.activeElement.closest('.option') ?? document.activeElement);
    return { text: (document.activeElement.textContent || document.activeElement.name || '').trim(), isSeen: [outlineStyle, around.outlineStyle].some((style) => style !== 'none') && outlineWidth !== undefined };
  });
  const tabTo = async (wanted) => {
    for (let n = 0; n < 80; n += 1) {
      await page.keyboard.press('Tab');
      const now = await focused();
      assert.ok(now.isSeen, `where the keyboard is can be seen: ${now.text}`);
      if (wanted.test(now.text)) return;
    }
    assert.fail(`no way to ${wanted} by Tab`);
  };
  await page.keyboard.press('Tab');
  assert.match((await focused()).text, /Skip to the content/);
  await page.keyboard.press('Enter');
  await tabTo(new RegExp(product.name));
  await page.keyboard.press('Enter');
  await page.locator('.product', { hasText: product.id }).waitFor();
  await tabTo(/^through$/);
  await page.keyboard.press('ArrowDown');
  await tabTo(/^price$/);
  await page.keyboard.press('Control+a');
  await page.keyboard.type('61.50');
  await page.keyboard.press('Enter');
  await page.locator('.moments [data-moment=read]', { hasText: '61.50' }).waitFor();
});
