// A part of the page, with its name; and what stands in one that has nothing to show yet.

import { classes, html, useId } from './ui.js';

/** @import { Child } from '../vendor/preact/preact.js' */

/**
 * @param {{ name: string, title: string, lead?: Child, side?: Child, wide?: boolean, children?: Child }} props
 */
export function Panel({ name, title, lead, side, wide, children }) {
  const id = useId();
  return html`
    <section class=${classes('panel', `panel-${name}`, wide && 'wide')} aria-labelledby=${id}>
      <div class="panel-head">
        <h2 id=${id}>${title}</h2>
        ${side && html`<div class="panel-side">${side}</div>`}
      </div>
      ${lead && html`<p class="lead">${lead}</p>`}
      ${children}
    </section>
  `;
}

/** @param {{ children?: Child }} props */
export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

/** What went wrong, told to those who do not see it as well. @param {{ children?: Child }} props */
export const Failure = ({ children }) => html`<p class="failure" role="alert">${children}</p>`;

/** A state, by colour and by word. @param {{ tone: string, children?: Child, title?: string }} props */
export const Badge = ({ tone, children, title }) => html`<span class=${`badge ${tone}`} title=${title}>${children}</span>`;
