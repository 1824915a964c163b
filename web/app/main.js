// The page: it draws itself, asks how everything is, and follows the live feed.

import { takeDone } from './changes.js';
import { takeProcesses, takeUnseen } from './fleet.js';
import * as health from './health.js';
import { Feed } from './live.js';
import { Page } from './page.js';
import { applyTheme } from './theme.js';
import { Trail } from './trail.js';
import { html, render } from './ui.js';

/** @import { ServerEvent } from './sse.js' */

const trail = new Trail();

const feed = new Feed({ processes: 'true' }, (/** @type {ServerEvent[]} */ events) => {
  for (const { event, data } of events) {
    if (event === 'processes') takeProcesses(JSON.parse(data));
    if (event === 'unseen') takeUnseen(JSON.parse(data));
    if (event === 'done') takeDone(JSON.parse(data));
  }
  trail.take(events);
});

applyTheme();
const root = document.getElementById('page');
if (root) {
  root.replaceChildren();
  render(html`<${Page} feed=${feed} trail=${trail} />`, root);
}
void health.follow();
void feed.run();
