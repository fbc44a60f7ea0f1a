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
import { reusedSchemas } from './database.ts'
import { storeHarness, type StoreHarness } from './store-harness.ts'

export interface ServerUnderTest {
  readonly present: boolean
  /** Asked for when a test runs. Undefined: the server that the tests share. */
  readonly url?: () => string
}

/** The contract suites of a store, on one server. */
export function storeContract(name: string, { present, url }: ServerUnderTest): void {
  const schemas = reusedSchemas(url)
  afterAll(() => schemas[Symbol.asyncDispose]())
  const run = (part: string, cases: readonly ContractCase<StoreHarness>[]): void => {
    describe.skipIf(!present)(`${name}: ${part}`, () => {
      for (const item of cases) {
        test(item.name, async () => {
          await using harness = await storeHarness(schemas.next())
          await item.run(harness)
        })
      }
    })
  }
  run('outbox', [...outboxContract, ...outboxRetentionContract])
  run('operations', operationsContract)
  run('savepoints', savepointContract)
  run('tracker', trackerContract)
  run('sagas', sagaContract)
  run('once', onceContract)

  describe.skipIf(!present)(`${name}: waker`, () => {
    for (const item of wakerContract) {
      test(item.name, async () => {
        await using harness = await storeHarness(schemas.next())
        await using store = await harness.open()
        const [waker] = store.wakers
        if (waker === undefined) throw new Error('the store has no waker')
        const cause = async (): Promise<void> => {
          const to = { transport: 'default', kind: 'queue', name: 'q' } as const
          const message = {
            id: uuidv7(Date.now()),
            type: 'hint',
            headers: {},
            body: new Uint8Array(),
            to,
          }
          await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
        }
        await item.run({ waker, cause, [Symbol.asyncDispose]: () => Promise.resolve() })
      })
    }
  })
}
