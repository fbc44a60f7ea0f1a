import { describe, test } from 'vitest'
import { uuidv7 } from '../../src/lib/uuid.ts'
import { type ContractCase, outboxContract, outboxRetentionContract, trackerContract, wakerContract } from '../../src/testing/index.ts'
import { serverAnswers } from '../postgres/database.ts'
import { storeHarness, type StoreHarness } from '../postgres/store-harness.ts'

const present = await serverAnswers()

function run(name: string, cases: readonly ContractCase<StoreHarness>[]): void {
  describe.skipIf(!present)(`postgres store: ${name}`, () => {
    for (const item of cases) {
      test(item.name, async () => {
        await using harness = await storeHarness()
        await item.run(harness)
      })
    }
  })
}

run('outbox', [...outboxContract, ...outboxRetentionContract])
run('tracker', trackerContract)

describe.skipIf(!present)('postgres store: waker', () => {
  for (const item of wakerContract) {
    test(item.name, async () => {
      await using harness = await storeHarness()
      await using store = await harness.open()
      const [waker] = store.wakers
      if (waker === undefined) throw new Error('the store has no waker')
      const cause = async (): Promise<void> => {
        const to = { transport: 'default', kind: 'queue', name: 'q' } as const
        const message = { id: uuidv7(Date.now()), type: 'hint', headers: {}, body: new Uint8Array(), to }
        await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
      }
      await item.run({ waker, cause, [Symbol.asyncDispose]: () => Promise.resolve() })
    })
  }
})
