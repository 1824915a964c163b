// What the page uses of htm. Written here, for the vnodes of Preact.
import type { VNode } from '../preact/preact.js';
declare const htm: { bind(h: (...parts: any[]) => VNode): (strings: TemplateStringsArray, ...values: unknown[]) => VNode };
export default htm;
