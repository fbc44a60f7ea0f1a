/** The tables of the business, in words that all three databases know. No constraint hides a copy. */
import type { Road } from './plan.ts'

const whole = 'bigint not null'
const text = 'varchar(200) not null'

const tables: Readonly<Record<string, readonly string[]>> = {
  orders: [`number ${whole}`, `stamp ${text}`, `reminder ${text}`],
  payments: [`number ${whole}`, `part ${whole}`, `stamp ${text}`],
  cancels: [`number ${whole}`, `answer ${text}`],
  // What the saga has done, in its transactions.
  steps: [`number ${whole}`, `step ${text}`, `message ${text}`, `at ${whole}`],
  reminded: [`number ${whole}`, `message ${text}`],
  quoted: [`number ${whole}`, `cents ${whole}`, `message ${text}`],
  asked: [`number ${whole}`, `id ${text}`],
  quotes: [`number ${whole}`, `cents ${whole}`, `way ${text}`],
}

export function tablesOf(database: Road['database']): readonly string[] {
  const place = {
    postgres: 'place bigint generated always as identity primary key',
    mysql: 'place bigint auto_increment primary key',
    sqlite: 'place integer primary key autoincrement',
  }[database]
  return Object.entries(tables).map(
    ([name, columns]) => `create table ${name} (${[place, ...columns].join(', ')})`,
  )
}
