// Asks for the token of those who may manage, when a call was refused for want of it.

import { useStore } from './store.js';
import { asked, give } from './token.js';
import { html, useEffect, useRef } from './ui.js';

export function TokenDialog() {
  const why = useStore(asked);
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    if (why !== null && !dialog.current?.open) dialog.current?.showModal();
    if (why === null) dialog.current?.close();
  }, [why]);
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    give(String(new FormData(form).get('token') ?? '').trim());
    form.reset();
  };
  return html`
    <dialog ref=${dialog} aria-labelledby="token-title" onCancel=${() => asked.set(null)}>
      <form onSubmit=${submit}>
        <h2 id="token-title">A token is needed</h2>
        <p>What manages the cache, and the live feed, is for those who know the token of <code>FRESHLINE_API_MANAGE_TOKEN</code>.
          It is kept for this tab alone.</p>
        ${why && html`<p class="failure" role="alert">${why}</p>`}
        <label>Token <input type="password" name="token" required autocomplete="off" spellcheck=${false} /></label>
        <div class="row end">
          <button type="button" class="quiet" onClick=${() => asked.set(null)}>Not now</button>
          <button type="submit" class="primary">Use it</button>
        </div>
      </form>
    </dialog>
  `;
}
