import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { ClaimedMessage, Settlement } from '../../src/core/outbox.ts'
import { memoryStore } from '../../src/memory.ts'
import { holdsFor } from './check.ts'

type Step =
  | { readonly kind: 'save'; readonly key: number; readonly express: boolean }
  | {
      readonly kind: 'claim'
      readonly limit: number
      readonly from: number
      readonly reach: number
    }
  | { readonly kind: 'settle'; readonly batch: number; readonly as: 'sent' | 'retry' | 'release' }
  | { readonly kind: 'wait'; readonly ms: number }

const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('save' as const), key: fc.nat(2), express: fc.boolean() }),
  fc.record({
    kind: fc.constant('claim' as const),
    limit: fc.integer({ min: 1, max: 4 }),
    from: fc.nat(6),
    reach: fc.integer({ min: 1, max: 6 }),
  }),
  fc.record({
    kind: fc.constant('settle' as const),
    batch: fc.nat(3),
    as: fc.constantFrom('sent' as const, 'retry' as const, 'release' as const),
  }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(150) }),
)

const CLAIM_MS = 100

/** What the table must look like, told as simply as possible. */
interface Row {
  readonly position: bigint
  readonly key: string | undefined
  visibleAt: number
  token: string | undefined
  attempts: number
}

/** The store and the simple tale of it, side by side. */
function createRun() {
  let now = 0
  let tokens = 0
  const rows: Row[] = []
  const batches: (readonly ClaimedMessage[])[] = []
  const store = memoryStore({
    clock: { now: () => now, monotonic: () => now, sleep: () => Promise.resolve() },
    pause: () => Promise.resolve(),
  })

  async function save(key: number, express: boolean): Promise<void> {
    const partitionKey = key === 0 ? undefined : `key-${key}`
    const message: OutgoingMessage = {
      id: `message-${rows.length}`,
      type: 'test',
      headers: {},
      body: new Uint8Array(),
      to: { transport: 'default', kind: 'queue', name: 'test' },
      ...(partitionKey === undefined ? {} : { partitionKey }),
    }
    const token = `token-${++tokens}`
    const [saved] = await store.unitOfWork(
      async (tx) =>
        await store.outbox.save(
          tx,
          [message],
          express ? { express: { token, graceMs: CLAIM_MS } } : {},
        ),
    )
    const mayBeExpress =
      express && (partitionKey === undefined || !rows.some((row) => row.key === partitionKey))
    expect(saved?.kind).toBe(mayBeExpress ? 'born-claimed' : 'row')
    rows.push({
      position: saved?.position ?? 0n,
      key: partitionKey,
      visibleAt: mayBeExpress ? now + CLAIM_MS : now,
      token: mayBeExpress ? token : undefined,
      attempts: 0,
    })
    if (mayBeExpress && saved !== undefined)
      batches.push([{ message, position: saved.position, attempt: 0, token }])
  }

  async function claim(limit: number, from: number, reach: number): Promise<void> {
    const token = `token-${++tokens}`
    const claimed = await store.outbox.claim({
      limit,
      claimMs: CLAIM_MS,
      token,
      fromPosition: BigInt(from),
      stretch: { rows: reach, stopped: () => {} },
    })
    batches.push(claimed)
    expect(claimed.length).toBeLessThanOrEqual(limit)
    const taken = new Set(claimed.map(({ position }) => position))
    const mine = rows.filter(({ position }) => taken.has(position))
    expect(mine.length).toBe(claimed.length)
    for (const row of mine) {
      expect(row.visibleAt).toBeLessThanOrEqual(now)
      const earlier = rows.filter(
        ({ key, position }) => key !== undefined && key === row.key && position < row.position,
      )
      expect(earlier.filter(({ position }) => !taken.has(position))).toEqual([])
    }
    for (const row of mine)
      Object.assign(row, { visibleAt: now + CLAIM_MS, token, attempts: row.attempts + 1 })
    expect(claimed.map(({ attempt }) => attempt)).toEqual(mine.map(({ attempts }) => attempts))
  }

  async function settle(batch: number, kind: 'sent' | 'retry' | 'release'): Promise<void> {
    const given = batches[batches.length - 1 - batch] ?? []
    const settlements = given.map(({ position, token }): Settlement => {
      if (kind === 'retry') return { kind, position, token, delayMs: 10, error: new Error('no') }
      return { kind, position, token }
    })
    const { stale } = await store.outbox.settle(settlements)
    const owned = rows.filter((row) =>
      given.some(({ position, token }) => position === row.position && token === row.token),
    )
    expect(stale).toBe(given.length - owned.length)
    for (const row of owned) {
      if (kind === 'sent') rows.splice(rows.indexOf(row), 1)
      else if (kind === 'retry') Object.assign(row, { visibleAt: now + 10, token: undefined })
      else
        Object.assign(row, {
          visibleAt: now,
          token: undefined,
          attempts: Math.max(row.attempts - 1, 0),
        })
    }
  }

  return {
    async take(step: Step): Promise<void> {
      if (step.kind === 'save') await save(step.key, step.express)
      else if (step.kind === 'claim') await claim(step.limit, step.from, step.reach)
      else if (step.kind === 'settle') await settle(step.batch, step.as)
      else now += step.ms
    },
    /** After everything has expired, claims from the bottom reach every row that is left. */
    async drain(): Promise<void> {
      now += CLAIM_MS
      while (rows.length > 0) {
        const before = rows.length
        await claim(2, 0, Number.POSITIVE_INFINITY)
        await settle(0, 'sent')
        expect(rows.length).toBeLessThan(before)
      }
      expect((await store.admin.stats()).pending).toBe(0)
    },
  }
}

test('claims take unbroken runs of due rows, settlements change only what is owned, and a drain reaches everything', async () => {
  await holdsFor([fc.array(steps, { maxLength: 40 })], async (plan) => {
    const run = createRun()
    for (const step of plan) await run.take(step)
    await run.drain()
  })
})
