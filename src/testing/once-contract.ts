import assert from 'node:assert/strict'
import type { OnceClaimed, OnceKey, OnceStore } from '../core/records/once.ts'
import type { Store } from '../core/store.ts'
import type { ContractCase, HarnessTime } from './contract.ts'
import { headStart } from './outbox/harness.ts'

/** The parts of a store that the suite of requests works with. A `Store` may have them. */
export type OnceParts<Tx = unknown> = AsyncDisposable & Pick<Store<Tx>, 'unitOfWork' | 'once'>

/** What an adapter supplies to run the suite of requests; see `OutboxHarness`. */
export interface OnceHarness<Tx = unknown> extends HarnessTime, AsyncDisposable {
  open(): Promise<OnceParts<Tx>>
}

const checkout: OnceKey = { app: 'shop', scope: '', key: 'k1' }
const request = { fingerprint: 'f'.repeat(64), keepMs: 60_000 }
const answer = '{"response":{"order":1}}'

async function storeOf(parts: OnceParts): Promise<OnceStore<unknown>> {
  assert.ok(parts.once !== undefined, 'the store keeps no responses')
  await parts.once.open()
  return parts.once
}

/** Claims in a transaction of its own, and keeps the response if it was the first one. */
async function run(
  parts: OnceParts,
  { key = checkout, response = answer, ...more }: Partial<Options> = {},
): Promise<OnceClaimed> {
  const once = await storeOf(parts)
  return parts.unitOfWork(async (tx) => {
    const claimed = await once.claim(tx, key, { ...request, ...more })
    if (claimed.kind === 'first') await once.keep(tx, key, response)
    return claimed
  })
}

interface Options {
  readonly key: OnceKey
  readonly response: string
  readonly fingerprint: string
  readonly keepMs: number
}

const kept = { kind: 'kept', fingerprint: request.fingerprint, response: answer } as const

function shape(claimed: OnceClaimed): OnceClaimed {
  if (claimed.kind !== 'kept') return claimed
  const { kind, fingerprint, response } = claimed
  return { kind, fingerprint, response }
}

/** Looks again while the answer is that the key is taken. */
async function untilDecided(parts: OnceParts): Promise<OnceClaimed> {
  for (;;) {
    const claimed = await run(parts)
    if (claimed.kind !== 'running') return claimed
    await headStart(new Promise(() => {}))
  }
}

/** Claims in `first`, and meanwhile in `second`; then the first ends as it is told. */
async function race(harness: OnceHarness, fails: boolean): Promise<OnceClaimed> {
  await using first = await harness.open()
  await using second = await harness.open()
  const once = await storeOf(first)
  let rival: Promise<OnceClaimed> | undefined
  const unit = first.unitOfWork(async (tx) => {
    assert.deepEqual(await once.claim(tx, checkout, request), { kind: 'first' })
    rival = untilDecided(second)
    let early: OnceClaimed | undefined
    rival.then(
      (claimed) => (early = claimed),
      () => {},
    )
    await headStart(rival)
    assert.equal(early, undefined, 'the second transaction did not wait for the first')
    await once.keep(tx, checkout, answer)
    if (fails) throw new Error('rolled back')
  })
  await (fails ? assert.rejects(unit, { message: 'rolled back' }) : unit)
  assert.ok(rival !== undefined)
  return shape(await rival)
}

/** What every store of requests must do. */
export const onceContract: readonly ContractCase<OnceHarness>[] = [
  {
    name: 'once: the first claim is first, and later ones get the response as it was kept',
    async run(harness) {
      const text = JSON.stringify({
        response: 'ä\u{1f980}\u0000 "quoted" \\ % $1 ? 1e21',
        order: [{ b: 1, a: null }],
      })
      const key = { app: 'shop', scope: "user'1 ?", key: "k'1 ä\u{1f980} %_" }
      {
        await using store = await harness.open()
        assert.deepEqual(await run(store, { key, response: text }), { kind: 'first' })
        assert.deepEqual(shape(await run(store, { key })), { ...kept, response: text })
      }
      await using store = await harness.open()
      assert.deepEqual(shape(await run(store, { key })), { ...kept, response: text })
    },
  },
  {
    name: 'once: the fingerprint that is kept is that of the first claim',
    async run(harness) {
      await using store = await harness.open()
      await run(store)
      assert.deepEqual(shape(await run(store, { fingerprint: '' })), kept)
    },
  },
  {
    name: 'once: a transaction that rolls back leaves the key free',
    async run(harness) {
      await using store = await harness.open()
      const once = await storeOf(store)
      const unit = store.unitOfWork(async (tx) => {
        await once.claim(tx, checkout, request)
        await once.keep(tx, checkout, '{}')
        throw new Error('rolled back')
      })
      await assert.rejects(unit, { message: 'rolled back' })
      assert.deepEqual(await run(store), { kind: 'first' })
    },
  },
  {
    name: 'once: of two transactions with one key, the second waits or is told, then gets the response',
    run: async (harness) => assert.deepEqual(await race(harness, false), kept),
  },
  {
    name: 'once: if the first transaction rolls back, the second is the first one',
    run: async (harness) => assert.deepEqual(await race(harness, true), { kind: 'first' }),
  },
  {
    name: 'once: of many transactions at once, one is first, and none fails',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      await storeOf(store)
      const all = Array.from({ length: 12 }, (_, index) =>
        untilDecided(index % 2 === 0 ? store : other),
      )
      const claims = (await Promise.all(all)).map(shape)
      assert.equal(claims.filter(({ kind }) => kind === 'first').length, 1)
      const others = claims.filter(({ kind }) => kind !== 'first')
      assert.deepEqual(
        others,
        Array.from({ length: 11 }, () => kept),
      )
    },
  },
  {
    name: 'once: repeats of what is kept never hear that it is running',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      await run(store)
      const repeats = Array.from({ length: 12 }, (_, index) =>
        run(index % 2 === 0 ? store : other).then(shape),
      )
      assert.deepEqual(
        await Promise.all(repeats),
        Array.from({ length: 12 }, () => kept),
      )
    },
  },
  {
    name: 'once: apps, scopes and keys are told apart, also by case and by blanks',
    async run(harness) {
      await using store = await harness.open()
      const keys = ['k1', 'K1', 'k1 ', ' k1'].flatMap((key) => [
        { app: 'shop', scope: '', key },
        { app: 'shop', scope: 'anna', key },
        { app: 'shop', scope: 'Anna', key },
        { app: 'bank', scope: '', key },
      ])
      for (const key of keys) assert.deepEqual(await run(store, { key }), { kind: 'first' })
      for (const key of keys) assert.deepEqual(shape(await run(store, { key })), kept)
    },
  },
  {
    name: 'once: only what was kept long enough is pruned, in bounded batches',
    async run(harness) {
      await using store = await harness.open()
      const once = await storeOf(store)
      const keyOf = (name: string): OnceKey => ({ ...checkout, key: name })
      for (const name of ['a', 'b', 'c']) await run(store, { key: keyOf(name), keepMs: 1000 })
      await run(store, { key: keyOf('long'), keepMs: 3_600_000 })
      assert.equal(await once.prune({ limit: 10 }), 0)
      await harness.elapse(1500)
      assert.equal(await once.prune({ limit: 10, longerMs: 60_000 }), 0)
      assert.equal(await once.prune({ limit: 2 }), 2)
      assert.equal(await once.prune({ limit: 10 }), 1)
      assert.equal((await run(store, { key: keyOf('long') })).kind, 'kept')
      assert.equal((await run(store, { key: keyOf('a') })).kind, 'first')
    },
  },
]
