import { describe, expect, test } from 'vitest'
import { Mersal, stopOnSignals } from '../../../src/index.ts'
import { memoryStore, memoryTransport } from '../../../src/memory.ts'

const app = () =>
  new Mersal({ name: 'shop', transport: memoryTransport(), store: memoryStore(), logger: false })

const calls: readonly [name: string, field: string, call: (given: never) => unknown][] = [
  ['start()', 'signal', (given) => app().start(given)],
  ['drain()', 'signal', (given) => app().drain(given)],
  ['transaction()', 'signal', (given) => app().transaction(async () => {}, given)],
  ['stop()', 'removeQueue', (given) => app().stop(given)],
  ['stopOnSignals()', 'signals', async (given) => stopOnSignals(app(), given)],
  ['stopOnSignals()', 'graceMs', async (given) => stopOnSignals(app(), given)],
  ['stopOnSignals()', 'report', async (given) => stopOnSignals(app(), given)],
]

describe('options of a call', () => {
  test.each(calls)('of %s: a wrong %s is refused by its name', async (name, field, call) => {
    await expect(call({ [field]: 'of no use' } as never)).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      message: expect.stringContaining(`${name}.${field}: expected `),
    })
  })
})
