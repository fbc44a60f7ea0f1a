import { describe, expect, test } from 'vitest'
import {
  command,
  type CommandType,
  saga,
  type SagaContext,
  type SagaReactions,
} from '../../../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../../../src/memory.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { openShop } from '../../support/shop.ts'

const Begin = command<{ key: string }>('trial.begin')
const Renew = command<{ key: string }>('trial.renew')
const Cancel = command<{ key: string }>('trial.cancel')
const End = command<{ key: string }>('trial.end')

interface State {
  readonly fired: readonly string[]
}
const Trial = saga<State>('trial')
type On = SagaReactions<State, MemoryTransaction>
type Context = SagaContext<MemoryTransaction>

const keyOf = ({ key }: { readonly key: string }): string => key
const day = 86_400_000

function trial(on: On): void {
  on.start(Begin, keyOf, (before, _, { timeout }) => {
    timeout('over', { days: 30 })
    return before ?? { fired: [] }
  })
  on(Renew, keyOf, (_, __, { timeout }) => timeout('over', { days: 30 }))
  on(Cancel, keyOf, (_, __, { cancelTimeout }) => cancelTimeout('over'))
  on(End, keyOf, (_, __, { complete }) => complete())
  on.timeout('over', ({ fired }) => ({ fired: [...fired, 'over'] }))
}

/** The rows of the outbox are handed to the app by hand, when they are due. */
async function openTrial(list: (on: On) => void = trial) {
  const clock = manualClock()
  const { app, store, transport } = openShop({ change: () => memoryStore({ clock }) })
  app.saga(Trial, list)
  await app.start()
  const deliverDue = async (): Promise<void> => {
    const request = { limit: 100, claimMs: 1000, token: 'test' }
    for (const { message, position, token } of await store.outbox.claim(request)) {
      await transport.deliver('shop', message)
      await store.outbox.settle([{ kind: 'sent', position, token }])
    }
  }
  return {
    store,
    async send(type: CommandType<{ key: string }>, body: { key: string }): Promise<void> {
      await app.transaction(async (_, { sendLocal }) => void (await sendLocal(type, body)))
      await deliverDue()
    },
    async pass(ms: number): Promise<void> {
      await clock.advance(ms)
      await deliverDue()
    },
    async fired(): Promise<readonly string[] | undefined> {
      const [record] = (await store.sagas?.list({ limit: 10 })) ?? []
      return record && (JSON.parse(record.state) as State).fired
    },
    [Symbol.asyncDispose]: () => app.stop(),
  }
}

describe('timeouts of a saga', () => {
  test('a timeout comes when its time is over, and never before', async () => {
    await using shop = await openTrial()
    await shop.send(Begin, { key: 'k' })
    await shop.pass(30 * day - 1)
    expect(await shop.fired()).toEqual([])
    await shop.pass(1)
    expect(await shop.fired()).toEqual(['over'])
    await shop.pass(60 * day)
    expect(await shop.fired()).toEqual(['over'])
  })

  test('a timeout that is asked for again is put off', async () => {
    await using shop = await openTrial()
    await shop.send(Begin, { key: 'k' })
    await shop.pass(20 * day)
    await shop.send(Renew, { key: 'k' })
    await shop.pass(20 * day)
    expect(await shop.fired()).toEqual([])
    await shop.pass(11 * day)
    expect(await shop.fired()).toEqual(['over'])
  })

  test('a timeout that was taken back does not come, and one that is asked for afterwards does', async () => {
    await using shop = await openTrial()
    await shop.send(Begin, { key: 'k' })
    await shop.send(Cancel, { key: 'k' })
    await shop.pass(10 * day)
    await shop.send(Renew, { key: 'k' })
    await shop.pass(21 * day)
    expect(await shop.fired()).toEqual([])
    await shop.pass(11 * day)
    expect(await shop.fired()).toEqual(['over'])
  })

  test('a timeout of an instance that has ended does not reach a later one of the same key', async () => {
    await using shop = await openTrial()
    await shop.send(Begin, { key: 'k' })
    await shop.send(End, { key: 'k' })
    await shop.pass(20 * day)
    await shop.send(Begin, { key: 'k' })
    await shop.pass(11 * day)
    expect(await shop.fired()).toEqual([])
    await shop.pass(20 * day)
    expect(await shop.fired()).toEqual(['over'])
  })

  test('a timeout may ask for itself again', async () => {
    await using shop = await openTrial(again)
    await shop.send(Begin, { key: 'k' })
    for (const times of [1, 2, 3]) {
      await shop.pass(30 * day)
      expect(await shop.fired()).toHaveLength(times)
    }
  })

  test('P3: what a saga asks for and then fails is not asked for', async () => {
    await using shop = await openTrial((on) => {
      on.start(Begin, keyOf, (_, __, { timeout }) => {
        timeout('over', { seconds: 1 })
        throw new Error('after all not')
      })
      on.timeout('over', ({ fired }) => ({ fired: [...fired, 'over'] }))
    })
    await shop.send(Begin, { key: 'k' })
    expect((await shop.store.admin.stats()).pending).toBe(0)
    expect(await shop.fired()).toBeUndefined()
  })

  test.each<[string, (context: Context) => void]>([
    ["no on.timeout('other')", ({ timeout }) => timeout('other', { days: 1 })],
    ["no on.timeout('other')", ({ cancelTimeout }) => cancelTimeout('other')],
    ['at most a year', ({ timeout }) => timeout('over', { days: 300, hours: 2000 })],
    ['such as { days: 30 }', ({ timeout }) => timeout('over', {})],
    ['from 0 to', ({ timeout }) => timeout('over', { days: -1 })],
    ['day', ({ timeout }) => timeout('over', { day: 1 } as never)],
    ['expected an object', ({ timeout }) => timeout('over', 5 as never)],
  ])('a call that cannot work is refused: %s', async (text, call) => {
    let thrown: unknown
    await using shop = await openTrial((on) => {
      on.start(Begin, keyOf, (_, __, context) => {
        try {
          call(context)
        } catch (error) {
          thrown = error
        }
        return { fired: [] }
      })
      on.timeout('over', () => {})
    })
    await shop.send(Begin, { key: 'k' })
    expect(thrown).toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
    expect((thrown as Error).message).toContain(text)
  })
})

function again(on: On): void {
  on.start(Begin, keyOf, (_, __, { timeout }) => {
    timeout('over', { days: 30 })
    return { fired: [] }
  })
  on.timeout('over', ({ fired }, { timeout }) => {
    timeout('over', { days: 30 })
    return { fired: [...fired, 'over'] }
  })
}
