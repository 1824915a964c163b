// What the page uses of Preact's hooks. Written here, as preact.d.ts is.
type Update<T> = (next: T | ((before: T) => T)) => void;
type After = void | (() => void);
export function useState<T>(initial: T | (() => T)): [T, Update<T>];
export function useEffect(run: () => After, on?: readonly unknown[]): void;
export function useLayoutEffect(run: () => After, on?: readonly unknown[]): void;
export function useRef<T>(initial: T): { current: T };
export function useMemo<T>(make: () => T, on: readonly unknown[]): T;
export function useId(): string;
