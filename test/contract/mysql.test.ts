import { afterAll, describe, test } from 'vitest'
import { uuidv7 } from '../../src/lib/uuid.ts'
import {
  type ContractCase,
  onceContract,
  operationsContract,
  outboxContract,
  outboxRetentionContract,
  sagaContract,
  savepointContract,
  trackerContract,
  wakerContract,
} from '../../src/testing/index.ts'
import { reusedDatabases, serverAnswers } from '../mysql/server.ts'
import { storeHarness, type StoreHarness } from '../mysql/store-harness.ts'

const present = await serverAnswers()
const databases = reusedDatabases()
afterAll(() => databases[Symbol.asyncDispose]())

function suite(part: string, cases: readonly ContractCase<StoreHarness>[]): void {
  describe.skipIf(!present)(`mysql store: ${part}`, () => {
    for (const item of cases) {
      test(item.name, async () => {
        await using harness = await storeHarness(databases.next())
        await item.run(harness)
      })
    }
  })
}

suite('outbox', [...outboxContract, ...outboxRetentionContract])
suite('operations', operationsContract)
suite('savepoints', savepointContract)
suite('tracker', trackerContract)
suite('sagas', sagaContract)
suite('once', onceContract)
suite(
  'waker',
  wakerContract.map((item) => ({
    name: item.name,
    async run(harness) {
      await using store = await harness.open()
      const [waker] = store.wakers
      if (waker === undefined) throw new Error('the store has no waker')
      const cause = async (): Promise<void> => {
        const to = { transport: 'default', kind: 'queue', name: 'q' } as const
        const id = uuidv7(Date.now())
        const message = { id, type: 'hint', headers: {}, body: new Uint8Array(), to }
        await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
      }
      await item.run({ waker, cause, [Symbol.asyncDispose]: () => Promise.resolve() })
    },
  })),
)
