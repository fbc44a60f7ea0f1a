import { afterEach, describe, expect, test } from 'vitest'
import type { Logger } from '../../../../src/core/telemetry.ts'
import { type ErrorCode, MersalError } from '../../../../src/core/errors/errors.ts'
import {
  createRelays,
  relaysOf,
  type Relays,
  type RelaysOptions,
} from '../../../../src/outbox/many-stores/relays.ts'
import { type RelayStore, servedStores } from '../../../../src/outbox/many-stores/relays-options.ts'
import { memoryStore } from '../../../../src/stores/memory.ts'
import { type ManualClock, manualClock } from '../../../../src/testing/manual-clock.ts'
import {
  calm,
  confirmed,
  ids,
  message,
  pass,
  type TestTransport,
  testTransport,
  until,
} from '../support.ts'

const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
let running: { readonly relays: Relays; readonly clock: ManualClock }[] = []

afterEach(async () => {
  for (const { relays, clock } of running) {
    const stopped = relays.stop({ graceMs: 10 })
    await clock.advance(2000)
    await stopped
  }
  running = []
})

interface Scene {
  readonly clock: ManualClock
  readonly transport: TestTransport
  readonly relays: Relays
  readonly add: (store: string, ...names: readonly string[]) => Promise<void>
  /** Messages of this store that were handed to the transport. */
  readonly sent: (store: string) => number
}

type Change = (store: RelayStore, name: string) => RelayStore

function scene(
  count: number,
  {
    change = (store) => store,
    ...options
  }: Partial<RelaysOptions> & { readonly change?: Change } = {},
): Scene {
  const clock = manualClock()
  const transport = testTransport()
  const memories = new Map(
    Array.from({ length: count }, (_, n) => [
      `s${n}`,
      memoryStore({ clock, pause: () => Promise.resolve() }),
    ]),
  )
  const relays = createRelays({
    stores: Object.fromEntries([...memories].map(([name, store]) => [name, change(store, name)])),
    transport,
    logger: silent,
    clock,
    random: () => 0.5,
    ...options,
  })
  running.push({ relays, clock })
  return {
    clock,
    transport,
    relays,
    async add(name, ...names) {
      const store = memories.get(name)!
      await store.unitOfWork(async (tx) => {
        await store.outbox.save(
          tx,
          names.map((each) => message(`${name}:${each}`)),
        )
      })
    },
    sent: (store) =>
      transport.published.filter((one) => one.message.id.startsWith(`${store}:`)).length,
  }
}

describe('relays of several stores', () => {
  test('publish what every store holds, and hold no more than the window together', async () => {
    const { transport, relays, add, sent } = scene(20)
    const most: number[] = []
    transport.behaviour = () => {
      most.push(relays.served.reduce((sum, { held }) => sum + held, 0))
      return confirmed
    }
    for (let n = 0; n < 20; n++) await add(`s${n}`, ...ids(n === 0 ? 5000 : 10))
    await relays.start()
    await until(() => transport.published.length === 5190, 'everything is published')
    for (let n = 1; n < 20; n++) expect(sent(`s${n}`)).toBe(10)
    expect(Math.max(...most)).toBeLessThanOrEqual(relays.window)
  })

  test('of one with a backlog let the others pass before a tenth of it has left', async () => {
    const { transport, relays, add, sent } = scene(20)
    await add('s0', ...ids(20_000))
    for (let n = 1; n < 20; n++) await add(`s${n}`, ...ids(10))
    let before: number | undefined
    transport.behaviour = () => {
      if (before === undefined && transport.published.length - sent('s0') === 190)
        before = sent('s0')
      return confirmed
    }
    await relays.start()
    await until(() => before !== undefined, 'the others are through')
    expect(before).toBeLessThan(2000)
  })

  test('of one whose destination never answers let the others go on', async () => {
    const { transport, relays, add, sent } = scene(4)
    transport.behaviour = ({ id }) => (id.startsWith('s0:') ? undefined : confirmed)
    await add('s0', ...ids(5000))
    await relays.start()
    await until(() => sent('s0') >= 500, 'it holds what it may')
    await calm()
    const stuck = sent('s0')
    expect(stuck).toBeLessThan(relays.window)
    for (let n = 1; n < 4; n++) await add(`s${n}`, ...ids(3000))
    await until(() => [1, 2, 3].every((n) => sent(`s${n}`) === 3000), 'the others are through')
    expect(sent('s0')).toBe(stuck)
  })

  test('of one whose claims hang let the others go on', async () => {
    const hangs = (store: RelayStore): RelayStore => ({
      ...store,
      outbox: { ...store.outbox, claim: () => new Promise(() => {}) },
    })
    const { relays, add, sent } = scene(3, {
      change: (store, name) => (name === 's0' ? hangs(store) : store),
    })
    await relays.start()
    for (const name of ['s1', 's2']) await add(name, ...ids(4000))
    await until(() => sent('s1') === 4000 && sent('s2') === 4000, 'the others are through')
  })

  test('of one that cannot be opened start the others, and begin with it when it can', async () => {
    let away = true
    const { clock, relays, add, sent } = scene(3, {
      change: (store, name) =>
        name === 's0'
          ? {
              ...store,
              open: () => (away ? Promise.reject(new Error('connection refused')) : store.open()),
            }
          : store,
    })
    for (const name of ['s0', 's1']) await add(name, ...ids(5))
    await relays.start()
    await until(() => sent('s1') === 5, 'the others work')
    await clock.advance(120_000)
    expect(relays.served.map(({ name, state }) => [name, state])).toEqual([
      ['s0', 'opening'],
      ['s1', 'running'],
      ['s2', 'running'],
    ])
    away = false
    expect(await pass(clock, () => sent('s0') === 5, 31_000, 'it is served')).toBeGreaterThan(0)
    expect(relays.served[0]!.state).toBe('running')
  })

  test('drain a store that is opened later, and give that up with the signal and the stop', async () => {
    let away = true
    const { clock, relays, add, sent } = scene(2, {
      change: (store, name) => ({
        ...store,
        open: () => (name === 's1' && away ? Promise.reject(new Error('not yet')) : store.open()),
      }),
    })
    await add('s1', 'a')
    await relays.start()
    const late = relays.served[1]!
    expect(late.state).toBe('opening')
    const giveUp = new AbortController()
    const given = late.drain({ signal: giveUp.signal })
    giveUp.abort(new Error('enough'))
    await expect(given).rejects.toThrow('enough')
    let done = false
    const drained = late.drain().then(() => (done = true))
    await clock.advance(500)
    expect(done).toBe(false)
    away = false
    await clock.advance(5000)
    await drained
    expect(sent('s1')).toBe(1)
  })

  test('end the draining of a store that was never open when they stop', async () => {
    const { clock, relays } = scene(2, {
      change: (store, name) => ({
        ...store,
        open: () => (name === 's1' ? Promise.reject(new Error('never')) : store.open()),
      }),
    })
    await relays.start()
    const drained = relays.served[1]!.drain()
    const ended = expect(drained).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    const stopped = relays.stop({ graceMs: 10 })
    await clock.advance(2000)
    await Promise.all([ended, stopped])
  })

  test('do not start when no store can be opened, and say what the first one said', async () => {
    const { clock, relays } = scene(2, {
      change: (store, name) => ({
        ...store,
        open: () => Promise.reject(new Error(`${name} is away`)),
      }),
    })
    const started = relays.start()
    const failed = expect(started).rejects.toThrow('s0 is away')
    await clock.advance(2000)
    await failed
    expect(relays.served.map(({ state }) => state)).toEqual(['stopped', 'stopped'])
  })

  test('stop all of them, with what was in flight settled', async () => {
    const { clock, transport, relays, add } = scene(5)
    transport.behaviour = () => undefined
    for (let n = 0; n < 5; n++) await add(`s${n}`, ...ids(3))
    await relays.start()
    await until(() => transport.published.length === 15, 'all are on their way')
    const stopped = relays.stop({ graceMs: 1000 })
    for (const { answer } of transport.published) answer(confirmed)
    await calm()
    await clock.advance(1000)
    expect(await stopped).toBe(true)
    expect(relays.served.map(({ state, held }) => [state, held])).toEqual(
      Array.from({ length: 5 }, () => ['stopped', 0]),
    )
  })

  test('have transports of their own where their entry says so', async () => {
    const clock = manualClock()
    const [shared, own] = [testTransport(), testTransport()]
    const stores = ['a', 'b'].map(() => memoryStore({ clock, pause: () => Promise.resolve() }))
    const relays = createRelays({
      stores: { a: stores[0]!, b: { store: stores[1]!, transport: own } },
      transport: shared,
      logger: silent,
      clock,
    })
    running.push({ relays, clock })
    for (const [index, store] of stores.entries()) {
      await store.unitOfWork(async (tx) => {
        await store.outbox.save(tx, [message(`m${index}`)])
      })
    }
    await relays.start()
    await until(() => shared.published.length + own.published.length === 2, 'both are published')
    expect(shared.published.map((one) => one.message.id)).toEqual(['m0'])
    expect(own.published.map((one) => one.message.id)).toEqual(['m1'])
  })
})

describe('relays that are patient', () => {
  function patient(
    open: (store: RelayStore, name: string) => Promise<void>,
    names: readonly string[] = ['a'],
  ) {
    const clock = manualClock()
    const transport = testTransport()
    const store = memoryStore({ clock, pause: () => Promise.resolve() })
    const stores = Object.fromEntries(
      names.map((name) => {
        const one = name === 'a' ? store : memoryStore({ clock, pause: () => Promise.resolve() })
        return [name, { ...one, open: () => open(one, name) }]
      }),
    )
    const options = { logger: silent, clock, random: () => 0.5 }
    const served = servedStores(stores, { transport }, 'relays')
    const relays = relaysOf(served, { ...options, patient: true }, 1000)
    running.push({ relays, clock })
    const add = async (): Promise<void> => {
      await store.unitOfWork(async (tx) => void (await store.outbox.save(tx, [message('m')])))
    }
    return { clock, transport, relays, add }
  }
  const problem = (code: ErrorCode) => new MersalError(code, 'the tables are out of date')

  test.each([[['a']], [['a', 'b']]])('wait for %o, of which none can be opened', async (names) => {
    let away = true
    const { clock, transport, relays, add } = patient(
      (store) => (away ? Promise.reject(new Error('connect ECONNREFUSED')) : store.open()),
      names,
    )
    await add()
    await relays.start()
    expect(relays.served[0]!.state).toBe('opening')
    const drained = relays.served[0]!.drain()
    await clock.advance(5000)
    expect(transport.published).toEqual([])
    away = false
    await clock.advance(31_000)
    await drained
    expect(transport.published).toHaveLength(1)
  })

  test.each([[['a']], [['a', 'b']]])(
    'do not wait for %o, whose tables somebody has to change',
    async (names) => {
      const { clock, relays } = patient(
        () => Promise.reject(problem('MERSAL_SCHEMA_MISSING')),
        names,
      )
      const failed = expect(relays.start()).rejects.toThrow('out of date')
      await clock.advance(2000)
      await failed
      expect(relays.served[0]!.state).toBe('stopped')
    },
  )
})

describe('options of relays', () => {
  const store = memoryStore()
  const wrong: readonly (readonly [string, unknown, string])[] = [
    ['no stores', { stores: {} }, 'relays.stores: is empty'],
    ['stores that are none', { stores: { a: 7 } }, 'relays.stores.a: expected an object'],
    ['an entry without a store', { stores: { a: {} } }, 'relays.stores.a.store: is missing'],
    [
      'an unknown field of an entry',
      { stores: { a: { store, transpotr: 1 } } },
      "did you mean 'transport'?",
    ],
    [
      'a name that is no name',
      { stores: { 'a/b': store } },
      'relays.stores.a/b: a store is called by',
    ],
    [
      'one store under two names',
      { stores: { a: store, b: store } },
      "relays.stores.b: is the very store of 'a'",
    ],
    [
      'a window for one of them',
      { stores: { a: { store, relay: { window: 500 } }, b: memoryStore() } },
      'relays.stores.a.relay.window: all stores share',
    ],
    [
      'what is no object for one of them',
      { stores: { a: { store, relay: 5 } } },
      'relays.stores.a.relay: expected an object with options, got a value of type number',
    ],
    [
      'a batch above the window',
      { stores: { a: store }, relay: { batchSize: 10, window: 5 } },
      'relays.relay.window: expected a whole number from 10',
    ],
    [
      'a window too small for all',
      {
        stores: Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`s${n}`, memoryStore()])),
        relay: { batchSize: 1, window: 17 },
      },
      'relays.relay.window: expected at least 2 messages for each of the 9 stores, got 17',
    ],
    [
      'a transport that is none',
      { stores: { a: store }, transport: {} },
      "relays.transport: has no method 'publish'",
    ],
    [
      'an unknown option',
      { stores: { a: store }, conections: 3 },
      'relays.conections: there is no such option',
    ],
  ]
  test.each(wrong)('refuse %s, and name the field', (_, options, text) => {
    expect(() => createRelays(options as RelaysOptions)).toThrow(text)
  })
})
