/** What the page and the table in docs/evidence.md are made from. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Result } from './report.ts'

export const root: string = join(import.meta.dirname, '../..')

/** Which checkers look after which promise. */
export const promises: readonly { readonly name: string; readonly checks: readonly string[] }[] = [
  { name: 'P1 Atomic', checks: ['torn', 'phantom', 'rolledBackLeak', 'early'] },
  { name: 'P2 No loss', checks: ['lost', 'unconfirmed', 'stuck'] },
  { name: 'P4 Effectively once', checks: ['dupEffect'] },
  { name: 'P5 Order per key', checks: ['reorderTap', 'reorderEffect'] },
  { name: 'P6 Bounded duplicates', checks: ['dupBound'] },
  { name: 'P7 Fenced', checks: ['claimLeak'] },
  { name: 'P9 Bounded', checks: ['rss', 'leak', 'growth'] },
  { name: 'P10 Self-healing', checks: ['recovery', 'died'] },
  { name: 'P11 Graceful stop', checks: ['stop'] },
  { name: 'P12 Fidelity', checks: ['fidelity'] },
  { name: 'P13 Honest results', checks: ['honesty'] },
  { name: 'Honest metrics', checks: ['metricsTruth'] },
  { name: 'P14 No secret leaves', checks: ['secretCanary'] },
]

export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, index) => (index === 0 ? '---' : '---:')), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')

export const sum = (numbers: readonly number[]): number =>
  numbers.reduce((total, each) => total + each, 0)
export const whole = (value: number): string => value.toLocaleString('en-US')
export const stores = {
  postgres: 'PostgreSQL and RabbitMQ',
  sqlite: 'SQLite and its queue',
  mysql: 'MariaDB and the queue of SQLite',
  nats: 'PostgreSQL and NATS',
  redis: 'PostgreSQL and Redis',
  kafka: 'PostgreSQL and Kafka',
} as const
export type Store = keyof typeof stores

const folder = join(root, 'docs/reliability')
export const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), 'utf8'))

/** The results of the runs, which are called after their store and seed. */
export const results = (): readonly Result[] => resultsOf('')

/** Those with the second workload. */
export const featureResults = (): readonly Result[] => resultsOf('features-')

/** Those whose relays read the log of PostgreSQL. */
export const logResults = (): readonly Result[] => resultsOf('log-')

function resultsOf(prefix: string): readonly Result[] {
  const files = readdirSync(folder).filter((name) =>
    new RegExp(`^${prefix}(${Object.keys(stores).join('|')})-\\d+\\.json$`).test(name),
  )
  return files.sort().map((name) => read(name) as Result)
}
