// The shapes of what the processes answer, as far as the page reads them. `/openapi.json` is the reference.

/**
 * @typedef {{ type?: string, title: string, status: number, detail?: string, errors?: Fault[] }} Problem
 * @typedef {{ pointer?: string, parameter?: string, header?: string, value?: string, detail: string, remedy?: string }} Fault
 *
 * @typedef {{ id: string, sku: string, name: string, description: string | null, category: string, price: string,
 *             stock_quantity: number, updated_at: string }} Product
 *
 * @typedef {{ name: string, took_us: number }} Step
 * @typedef {{ key: string, origin: 'redis' | 'fallback' | 'postgres', rule: string, refused_first_by: string | null, age_us: number,
 *             max_staleness_us: number, fill: string | null, lease: string | null, steps: Step[], took_us: number,
 *             process?: string, at_us?: number, entry: { snapshot: string | null, lsn: string | null } | null,
 *             control: { position: string, generation: string } | null, load: { snapshot: string } | null }} Explanation
 *
 * @typedef {{ process: string, xid: number | string, end: string, began_us: number, committed_us: number, took_ms: number }} Write
 * @typedef {Write & { statement: string }} SqlWrite
 *
 * @typedef {{ id: string, at_ms: number, effect: string, name: string, xid: number | string | null, end: string | null, skipped: number,
 *             by: string | null, committed_us: number | null, received_us: number | null, applied_us: number | null }} Done
 *
 * @typedef {{ at_us: number, over_ms: number, is_ready?: boolean,
 *             requests?: { total: number, per_s: number, p50_ms: number | null, p99_ms: number | null },
 *             reads?: { hits: number, misses: number, fallbacks: number, hits_per_s: number, misses_per_s: number },
 *             loads?: { total: number, per_s: number },
 *             changes?: { total: number, per_s: number, p50_ms: number | null, p99_ms: number | null },
 *             freshness_ms?: number | null, stripes_closed?: number | null, fenced?: number | null, lag_bytes?: number | null,
 *             relay?: { published: number, unstored: number }, warmed?: number }} Figures
 * @typedef {{ id: string, role: string, pid: number, host: string, address: string | null, admin_address: string | null,
 *             started_ms: number, version: string, source: string | null, figures?: Figures | null }} Process
 * @typedef {{ at_us: number, processes: Process[] }} Processes
 *
 * @typedef {{ status: 'ok' | 'degraded' | 'down', redis: { status: string, latency_ms: number | null }, postgres: { status: string },
 *             invalidator: { status: string, processes: number, source: string | null, freshness_ms: number | null } }} Health
 */

export {};
