import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { createRelay } from '../../src/outbox/relay.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { simulateMany } from './crowd.ts'
import { simulate } from './simulate.ts'
import { hashOf, tallyOf } from './tally.ts'

const program = fileURLToPath(new URL('../../scripts/simulate.ts', import.meta.url))

test('several processes find what one finds', { timeout: 240_000 }, async () => {
  const one = await tallyOf(1, 150, { createRelay, memoryStore })
  expect(one).toMatchObject({ seeds: 150, twice: 3, violations: [] })
  expect(await simulateMany({ from: 1, count: 150, processes: 2 })).toEqual(one)
})

test('a seed is replayed in another process with the same trace', {
  timeout: 240_000,
}, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [program, '--seed', '77'])
  expect(stdout).toContain(
    `seed 77: trace ${hashOf(await simulate(77, { createRelay, memoryStore }))}`,
  )
})

test('a violation is told with its seed, and so is a trace that is not the same again', async () => {
  let made = 0
  // A store whose behaviour is not decided by the seed.
  const restless: typeof memoryStore = (options) => {
    const store = memoryStore(options)
    const claim = store.outbox.claim.bind(store.outbox)
    const limited = made++ % 2 === 0
    store.outbox.claim = (request) => claim(limited ? { ...request, limit: 1 } : request)
    return store
  }
  const { violations } = await tallyOf(50, 1, { createRelay, memoryStore: restless })
  expect(violations).toContainEqual(expect.stringMatching(/^seed 50: determinism: its trace was/))
})
