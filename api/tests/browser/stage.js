// What stands behind the page: where it is, and orders to those outside, who look into Postgres and Redis and break things.

import { createInterface } from 'node:readline';

/** @type {{ replicas: string[], guarded: string, token: string }} */
export const stage = JSON.parse(process.env.STAGE);

const answers = createInterface({ input: process.stdin });
const waiting = [];
answers.on('line', (line) => waiting.shift()?.(JSON.parse(line)));

/** Gives an order, and waits until it is carried out. */
async function order(what) {
  const answer = await new Promise((resolve) => {
    waiting.push(resolve);
    process.stdout.write(`\u0001${JSON.stringify(what)}\n`);
  });
  if (answer.error) throw new Error(answer.error);
  return answer.ok;
}

/** The rows of a query, as objects. */
export const rows = (sql) => order({ order: 'rows', sql });

/** Statements of somebody who knows no Freshline. */
export const sql = (sql) => order({ order: 'sql', sql });

/** What lies in Redis under a key of the cache; null where nothing does. */
export const entry = (key) => order({ order: 'entry', key });

export const kill = (what) => order({ order: 'kill', what });
export const start = (what) => order({ order: 'start', what });
export const stop = (what) => order({ order: 'stop', what });
export const startAgain = (what) => order({ order: 'start-again', what });

/** The products that are in Postgres, newest first: as `/products/latest` has them. */
export const products = () => rows('select id, sku, name, price::text, stock_quantity from products order by created_at desc, id desc');

/** Ends the talk with those outside. */
export function close() {
  answers.close();
  process.stdin.destroy();
}
