import { expect } from 'vitest'
import { seededRandom } from '../../scripts/seeded-random.ts'
import type { ClaimedMessage, WrittenRow } from '../../src/core/outbox.ts'
import type { Store } from '../../src/core/store.ts'
import { message, newToken } from './messages.ts'

/** Where a race writes down what left, in which order, and what its rules say. */
interface Ledger {
  /** What left, in this order. */
  readonly left: { readonly key: string; readonly position: bigint }[]
  /** Keys in hands at this moment. */
  readonly held: Map<string, number>
  overlaps: number
}

const newLedger = (): Ledger => ({ left: [], held: new Map(), overlaps: 0 })

const keyOf = (row: ClaimedMessage): string => row.message.partitionKey ?? row.message.id

/**
 * Takes rows into the ledger as a publisher would: one after the other, noting keys that two hold
 * at once.
 */
async function publishAll(
  ledger: Ledger,
  rows: readonly ClaimedMessage[],
  pause: () => Promise<unknown>,
): Promise<void> {
  const keys = new Set(rows.map(keyOf))
  for (const key of keys) {
    if ((ledger.held.get(key) ?? 0) > 0) ledger.overlaps++
    ledger.held.set(key, (ledger.held.get(key) ?? 0) + 1)
  }
  await pause()
  for (const row of rows) ledger.left.push({ key: keyOf(row), position: row.position })
  await pause()
  for (const key of keys) ledger.held.set(key, (ledger.held.get(key) ?? 1) - 1)
}

/**
 * Claims, publishes and settles until told to stop and nothing is left. Some rows are given back or
 * refused.
 */
async function claimer<Tx>(
  store: Store<Tx>,
  ledger: Ledger,
  options: { readonly limit: number; readonly ended: () => boolean; readonly random: () => number },
): Promise<void> {
  for (;;) {
    const ended = options.ended()
    const rows = await store.outbox.claim({
      limit: options.limit,
      claimMs: 60_000,
      token: newToken(),
    })
    if (rows.length === 0) {
      if (ended && (await store.admin.stats()).pending === 0) return
      await nextTurn()
      continue
    }
    // A suffix of the claim goes back: of each key only later rows than those that left.
    const cut = options.random() < 0.3 ? Math.floor(options.random() * rows.length) : rows.length
    await publishAll(ledger, rows.slice(0, cut), nextTurn)
    await store.outbox.settle(
      rows.map((row, index) =>
        index < cut
          ? { kind: 'sent', position: row.position, token: row.token }
          : { kind: 'release', position: row.position, token: row.token },
      ),
    )
  }
}

export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

interface Pausing {
  query(text: string): Promise<unknown>
}

interface WriterOptions {
  /** The function of the database that waits. Default 'pg_sleep'. */
  readonly sleep?: string
  readonly keys: number
  readonly units: number
  readonly random: () => number
  /** Messages of the unit are asked to be born claimed, and then published by the writer. */
  readonly express?: Ledger
}

/**
 * Writes units with one to three messages of random keys. One in five rolls back, one in five waits
 * before its commit, with its messages written.
 */
export async function writer<Tx extends Pausing>(
  store: Store<Tx>,
  options: WriterOptions,
): Promise<number> {
  const { random } = options
  let committed = 0
  for (let unit = 0; unit < options.units; unit++) {
    const keys = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
      Math.floor(random() * options.keys),
    )
    const token = newToken()
    const fate = random()
    const express: ClaimedMessage[] = []
    try {
      await store.unitOfWork(async (tx) => {
        const messages = keys.map((key) => message('race', `key ${key}`))
        const terms = options.express === undefined ? {} : { express: { token, graceMs: 60_000 } }
        const delayed = fate >= 0.2 && fate < 0.4
        const later = delayed ? undefined : store.outbox.saveLast?.(tx, messages, terms)
        const taken = (saved: readonly WrittenRow[]): void => {
          for (const [index, row] of saved.entries()) {
            const given = messages[index]
            if (row.kind === 'born-claimed' && given !== undefined)
              express.push({ message: given, position: row.position, attempt: 0, token })
          }
        }
        if (later === undefined) taken(await store.outbox.save(tx, messages, terms))
        else void later.saved.then(taken)
        if (fate < 0.2) throw new Rollback()
        if (delayed) await tx.query(`select ${options.sleep ?? 'pg_sleep'}(0.003)`)
      })
      committed += keys.length
      if (options.express !== undefined && express.length > 0) {
        await publishAll(options.express, express, nextTurn)
        await store.outbox.settle(
          express.map(({ position }) => ({ kind: 'sent', position, token })),
        )
      }
    } catch (error) {
      if (!(error instanceof Rollback)) throw error
    }
  }
  return committed
}

class Rollback extends Error {}

/** Messages that left after a later one of their key. */
function inversions(left: Ledger['left']): number {
  const last = new Map<string, bigint>()
  let count = 0
  for (const { key, position } of left) {
    const highest = last.get(key) ?? -1n
    if (position <= highest) count++
    else last.set(key, position)
  }
  return count
}

interface RaceTerms {
  readonly keys: number
  /** Rows of a claim. */
  readonly limit: number
  /** Units of each writer. */
  readonly units: number
  /** Writers publish what was born claimed. */
  readonly express: boolean
  /** As in `WriterOptions`. */
  readonly sleep?: string
}

/** Three writers and four claimers, each on a store of its own: keys keep their order (P5). */
export async function race<Tx extends Pausing>(
  open: () => Promise<Store<Tx>>,
  { keys, limit, express, ...terms }: RaceTerms,
): Promise<void> {
  const random = seededRandom(7 * keys + limit)
  const ledger = newLedger()
  let ended = false
  const claimers = []
  for (let index = 0; index < 4; index++)
    claimers.push(claimer(await open(), ledger, { limit, random, ended: () => ended }))
  const writers = []
  const writing = { ...terms, keys, random, ...(express ? { express: ledger } : {}) }
  for (let index = 0; index < 3; index++) writers.push(writer(await open(), writing))
  const written = (await Promise.all(writers)).reduce((sum, count) => sum + count, 0)
  ended = true
  await Promise.all(claimers)
  const distinct = new Set(ledger.left.map(({ position }) => position)).size
  expect({ left: ledger.left.length, distinct }).toEqual({ left: written, distinct: written })
  expect({ overlaps: ledger.overlaps, inversions: inversions(ledger.left) }).toEqual({
    overlaps: 0,
    inversions: 0,
  })
}
