// Dark or light: what the system prefers, until somebody chooses.

import { store, useStore } from './store.js';
import { html } from './ui.js';

const KEPT_AS = 'freshline-theme';
const preference = matchMedia('(prefers-color-scheme: dark)');
const chosen = localStorage.getItem(KEPT_AS);

/** The one that is shown. */
export const theme = store(chosen === 'dark' || chosen === 'light' ? chosen : preferred());

function preferred() {
  return preference.matches ? 'dark' : 'light';
}

/** Shows it, now and when it changes. */
export function applyTheme() {
  const show = () => document.documentElement.setAttribute('data-theme', theme.get());
  theme.watch(show);
  preference.addEventListener('change', () => {
    if (!localStorage.getItem(KEPT_AS)) theme.set(preferred());
  });
  show();
}

/** The button that changes it. */
export function ThemeToggle() {
  const now = useStore(theme);
  const other = now === 'dark' ? 'light' : 'dark';
  const change = () => {
    localStorage.setItem(KEPT_AS, other);
    theme.set(other);
  };
  return html`<button type="button" class="quiet" onClick=${change} aria-label=${`Show the page ${other}`}>
    <span aria-hidden="true">${now === 'dark' ? '☀' : '☾'}</span> ${other === 'dark' ? 'Dark' : 'Light'}
  </button>`;
}
