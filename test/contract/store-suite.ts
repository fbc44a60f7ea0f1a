import { describe, test } from 'vitest'
import type { Store } from '../../src/core/store.ts'
import { uuidv7 } from '../../src/lib/uuid.ts'
import {
  type ContractCase,
  onceContract,
  operationsContract,
  outboxContract,
  outboxRetentionContract,
  type RetentionHarness,
  sagaContract,
  savepointContract,
  trackerContract,
  type WakerHarness,
  wakerContract,
} from '../../src/testing/index.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- the suites take a store with any kind of transaction
type Any = any

interface StoreHarness extends RetentionHarness<Any> {
  open(): Promise<Store<Any>>
}
type Open = () => Promise<StoreHarness>

function suite(
  name: string,
  present: boolean,
  cases: readonly ContractCase<StoreHarness>[],
  open: Open,
): void {
  describe.skipIf(!present)(name, () => {
    for (const item of cases)
      test(item.name, async () => {
        await using harness = await open()
        await item.run(harness)
      })
  })
}

/** All contract suites of a store on a server; `present`: the server is here. */
export function storeSuites(name: string, present: boolean, open: Open): void {
  const run = (part: string, cases: readonly ContractCase<StoreHarness>[]): void =>
    suite(`${name}: ${part}`, present, cases, open)
  run('outbox', [...outboxContract, ...outboxRetentionContract])
  run('operations', operationsContract)
  run('savepoints', savepointContract)
  run('tracker', trackerContract)
  run('sagas', sagaContract)
  run('once', onceContract)
  run('waker', wakerCases)
}

/** The suite of wakers, with the first one of a store, for a transaction of that store. */
export const wakerCases: readonly ContractCase<StoreHarness>[] = wakerContract.map((item) => ({
  name: item.name,
  async run(harness) {
    await using store = await harness.open()
    const [waker] = store.wakers
    if (waker === undefined) throw new Error('the store has no waker')
    const cause: WakerHarness['cause'] = async () => {
      const to = { transport: 'default', kind: 'queue', name: 'q' } as const
      const id = uuidv7(Date.now())
      const message = { id, type: 'hint', headers: {}, body: new Uint8Array(), to }
      await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
    }
    await item.run({ waker, cause, [Symbol.asyncDispose]: () => Promise.resolve() })
  },
}))
