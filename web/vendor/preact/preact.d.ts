// What the page uses of Preact. Written here: the package's own types follow its folders, which are not taken.
export type VNode = object;
export type Child = VNode | string | number | boolean | null | undefined | Child[];
export const h: (...parts: any[]) => VNode;
export const Fragment: unknown;
export function render(what: Child, where: Element): void;
