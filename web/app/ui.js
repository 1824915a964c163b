// The few names of Preact and htm that the page is written in.

import htm from '../vendor/htm/htm.js';
import { h, render } from '../vendor/preact/preact.js';

export { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from '../vendor/preact/hooks.js';
export { render };

/** Markup, as a tagged template. */
export const html = htm.bind(h);

/**
 * Class names, those that are wanted.
 * @param {...(string | false | null | undefined)} names
 */
export const classes = (...names) => names.filter(Boolean).join(' ');
