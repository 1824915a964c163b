// The whole screen: which part is where.

import { Charts } from './charts.js';
import { Compare } from './compare.js';
import { Edit } from './edit.js';
import { FeedPanel } from './feed-panel.js';
import { FleetPanel } from './fleet-panel.js';
import { Header } from './header.js';
import { KeysPanel } from './keys.js';
import { LookUp } from './look-up.js';
import { Notices } from './notices.js';
import { TimelinePanel } from './timeline-panel.js';
import { TokenDialog } from './token-dialog.js';
import { html } from './ui.js';
import { UsualPanel } from './usual-panel.js';

/** @import { Feed } from './live.js' */
/** @import { Trail } from './trail.js' */

/** @param {{ feed: Feed, trail: Trail }} props */
export function Page({ feed, trail }) {
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <${Header} feed=${feed} />
    <main id="main" tabindex="-1">
      <${Notices} feed=${feed} />
      <div class="grid">
        <${LookUp}><${Edit} feed=${feed} /><//>
        <${TimelinePanel} feed=${feed} />
        <${Charts} />
        <${FleetPanel} />
        <${Compare} />
        <${KeysPanel} />
        <${FeedPanel} feed=${feed} trail=${trail} />
        <${UsualPanel} />
      </div>
    </main>
    <${TokenDialog} />
  `;
}
