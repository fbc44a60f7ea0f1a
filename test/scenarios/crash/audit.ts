/** Reads the files of a finished run with plain SQL and counts what must not be. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { files, keysOf, queues } from './plan.ts'

export interface Findings {
  readonly lost: number
  readonly phantom: number
  readonly duplicateEffects: number
  readonly missingEffects: number
  /** First arrivals in the log, or first effects, of one key against the order of the commits. */
  readonly inversions: number
  /**
   * Most times that one message was published, not counting once for each claim of it that ran out.
   */
  readonly publishes: number
  /** Claims that ran out while their owner was alive. */
  readonly lostClaims: number
  readonly students: number
  /**
   * Most messages that a handler has committed in one transaction; 0 where none may take several.
   */
  readonly largestBatch: number
}

interface Part {
  readonly number: number
  readonly part: number
}

interface Arrival extends Part {
  readonly id: string
}

function read<Row>(folder: string, file: string, sql: string, ...values: string[]): Row[] {
  const database = new DatabaseSync(join(folder, file), { readOnly: true, timeout: 5000 })
  try {
    return database.prepare(sql).all(...values) as Row[]
  } finally {
    database.close()
  }
}

/**
 * Everything that was ever published to the topic is still in the queue `log`, which nobody reads.
 */
function arrivals(folder: string, queue: string): Arrival[] {
  const sql =
    'SELECT id, CAST(body AS TEXT) AS body FROM mersal_queue_messages WHERE queue = ? ORDER BY position'
  return read<{ id: string; body: string }>(folder, files.broker, sql, queue).map(
    ({ id, body }) => ({
      id,
      ...(JSON.parse(body) as Omit<Arrival, 'id'>),
    }),
  )
}

export function pending(folder: string): number {
  const count = (file: string, sql: string): number =>
    read<{ n: number }>(folder, file, sql)[0]?.n ?? 0
  return (
    count(files.registrar, 'SELECT count(*) AS n FROM mersal_outbox') +
    count(files.finance, 'SELECT count(*) AS n FROM mersal_outbox') +
    count(
      files.broker,
      `SELECT count(*) AS n FROM mersal_queue_messages WHERE queue = '${queues.finance}'`,
    )
  )
}

export function students(folder: string): number[] {
  return read<{ number: number }>(
    folder,
    files.registrar,
    'SELECT number FROM students ORDER BY committed',
  ).map(({ number }) => number)
}

const name = ({ number, part }: Part): string => `${number}/${part}`

export function audit(folder: string, killed: readonly number[]): Findings {
  const lost = lostClaims(folder, killed)
  const committed = students(folder).flatMap((number) =>
    keysOf(number).map((key, part) => ({ number, part, key })),
  )
  const order = new Map(
    committed.map((message, index) => [name(message), { index, key: message.key }]),
  )
  const handled = read<Part>(
    folder,
    files.finance,
    'SELECT number, part FROM effects ORDER BY rowid',
  )
  const effects = handled.map(name)
  const log = arrivals(folder, queues.log)
  const ledger = arrivals(folder, queues.ledger)
  const arrived = new Set(log.map(name))
  const billed = new Set(ledger.map(name))
  return {
    lostClaims: [...lost.values()].reduce((sum, each) => sum + each, 0),
    students: order.size / 2,
    largestBatch: largestBatch(folder),
    lost:
      [...order.keys()].filter((each) => !arrived.has(each)).length +
      [...new Set(effects)].filter((each) => !billed.has(each)).length,
    phantom:
      [...arrived].filter((each) => !order.has(each)).length +
      [...billed].filter((each) => !effects.includes(each)).length,
    duplicateEffects: effects.length - new Set(effects).size,
    missingEffects: [...order.keys()].filter((each) => !effects.includes(each)).length,
    inversions: inversions(log, order) + inversions(handled, order),
    publishes: Math.max(
      0,
      ...[...counts([...log, ...ledger].map(({ id }) => id))].map(
        ([id, times]) => times - (lost.get(id) ?? 0),
      ),
    ),
  }
}

function inversions(
  arrived: readonly Part[],
  order: ReadonlyMap<string, { index: number; key: string }>,
): number {
  const last = new Map<string, number>()
  let found = 0
  for (const each of new Set(arrived.map(name))) {
    const place = order.get(each)
    if (place === undefined) continue
    if (place.index < (last.get(place.key) ?? -1)) found += 1
    last.set(place.key, Math.max(place.index, last.get(place.key) ?? -1))
  }
  return found
}

/**
 * For each message, how often its row was taken over from an owner who was alive: a fault of a slow
 * machine, not of the crash. What the dead process held does not count.
 */
function lostClaims(folder: string, killed: readonly number[]): Map<string, number> {
  const path = join(folder, files.taken)
  const lost = new Map<string, number>()
  const owner = new Map<string, number>()
  for (const line of existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : []) {
    const [pid = '', id = ''] = line.split(' ')
    const former = owner.get(id)
    const byCrash = former !== undefined && killed.includes(former) && Number(pid) !== former
    if (former !== undefined && !byCrash) lost.set(id, (lost.get(id) ?? 0) + 1)
    owner.set(id, Number(pid))
  }
  return lost
}

function counts(values: readonly string[]): Map<string, number> {
  const result = new Map<string, number>()
  for (const value of values) result.set(value, (result.get(value) ?? 0) + 1)
  return result
}

function largestBatch(folder: string): number {
  const file = join(folder, files.batches)
  return existsSync(file)
    ? Math.max(...readFileSync(file, 'utf8').trim().split('\n').map(Number))
    : 0
}
