// All tests of the page, in this order: those that break things come last. One browser, and a fresh profile for each test.

import { after } from 'node:test';
import { browser } from './page.js';
import { close } from './stage.js';

await import('./reads.js');
await import('./changes.js');
await import('./figures.js');
await import('./operators.js');
await import('./feed.js');
await import('./looks.js');
await import('./usual.js');
if (process.env.PICTURES) await import('./pictures.js');
await import('./away.js');

after(async () => {
  await browser.close();
  close();
});
