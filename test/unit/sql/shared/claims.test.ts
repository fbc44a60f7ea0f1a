import { expect, test } from 'vitest'
import { MersalError } from '../../../../src/core/errors/errors.ts'
import type { Settlement } from '../../../../src/core/outbox.ts'
import { buryDamaged, type Damaged } from '../../../../src/sql/shared/claims.ts'

const damaged = (position: string): Damaged => ({
  row: {
    position,
    id: `id-${position}`,
    type: 'orders.place',
    transport: 'default',
    kind: 'queue',
    name: 'office',
    headers: 'no headers',
    body: new Uint8Array(1),
    attempts: '1',
  } as unknown as Damaged['row'],
  error: new MersalError('MERSAL_STORE_FAILED', 'headers that cannot be read'),
})

/** Buries three damaged rows. `settle` says how many of its settlements came too late. */
async function bury(settle: (settlements: readonly Settlement[]) => number) {
  const seen = { settled: [] as string[], told: [] as bigint[], causes: [] as unknown[] }
  await buryDamaged(
    ['1', '2', '3'].map(damaged),
    { token: 'token', buried: ({ position }) => void seen.told.push(position) },
    {
      async settle(settlements) {
        const stale = settle(settlements)
        seen.settled.push(...settlements.map(({ kind, position }) => `${kind} ${position}`))
        return { stale }
      },
      cannotBury: (cause) => void seen.causes.push(cause),
    },
  )
  return seen
}

test('each damaged row becomes a dead letter, and is told', async () => {
  const { settled, told, causes } = await bury(() => 0)
  expect(settled.toSorted()).toEqual(['dead 1', 'dead 2', 'dead 3'])
  expect([told, causes]).toEqual([[1n, 2n, 3n], []])
})

test('P7: nothing is told of one that somebody else has taken meanwhile', async () => {
  const { told } = await bury((settlements) =>
    settlements.some(({ position }) => position === 2n) ? 1 : 0,
  )
  expect(told).toEqual([1n, 3n])
})

test('P8: one that cannot be stored is set aside alone', async () => {
  const cause = new Error('no such function')
  const { settled, told, causes } = await bury((settlements) => {
    if (settlements.some(({ kind, position }) => kind === 'dead' && position === 2n)) throw cause
    return 0
  })
  expect(settled.toSorted()).toEqual(['dead 1', 'dead 3', 'release 2'])
  expect([told, causes]).toEqual([[1n, 3n], [cause]])
})
