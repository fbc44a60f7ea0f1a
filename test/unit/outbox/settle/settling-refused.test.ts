import { describe, expect, test } from 'vitest'
import { MersalError } from '../../../../src/core/errors/errors.ts'
import type { OutboxStorage, Settlement } from '../../../../src/core/outbox.ts'
import {
  calm,
  ids,
  message,
  pass,
  refusedForGood,
  refusedOnce,
  relays,
  setup,
  type Setup,
} from '../support.ts'

const { keep } = relays()

type Refuses = (settlement: Settlement, id: string) => boolean

const refusal = (): MersalError =>
  new MersalError('MERSAL_STORE_FAILED', 'permission denied', { details: { refused: true } })

/**
 * A relay on a storage that refuses a whole call when it refuses one settlement in it, as
 * statements on many rows do.
 */
function onRefusing(
  refuses: Refuses,
  thrown: () => Error = refusal,
  options: object = {},
  lockedKeys: () => readonly string[] = () => [],
): Setup & { readonly calls: number[] } {
  const calls: number[] = []
  const idOf = new Map<bigint, string>()
  let made: Setup | undefined
  const storage: Pick<OutboxStorage<never>, 'claim' | 'settle'> = {
    async claim(request) {
      const rows = await made!.store.outbox.claim({ ...request, exceptKeys: lockedKeys() })
      for (const { position, message } of rows) idOf.set(position, message.id)
      return rows
    },
    settle(settlements) {
      calls.push(settlements.length)
      if (settlements.some((one) => refuses(one, idOf.get(one.position) ?? ''))) throw thrown()
      return made!.store.outbox.settle(settlements)
    },
  }
  made = keep(setup(options, { storage }))
  made.relay.start()
  return { ...made, calls }
}

const errors = ({ log }: Setup): string[] =>
  log.filter(({ level }) => level === 'error').map(({ message }) => message)
const slow = ({ log }: Setup): boolean =>
  log.some(({ message }) => message.includes('kill its relay'))

describe('settlements that the storage refuses', () => {
  test('P8: a message that cannot become a dead letter stops none of the others, now and later', async () => {
    const made = onRefusing(({ kind }) => kind === 'dead')
    made.transport.behaviour = ({ id }) => (id === 'm7' ? refusedForGood : { kind: 'confirmed' })
    await made.add(...ids(20).map((id) => message(id)))
    await pass(
      made.clock,
      () => made.transport.published.length === 20 && made.relay.held === 0,
      1000,
      'settling the others',
    )
    for (let hours = 0; hours < 6; hours++) await made.clock.advance(3_600_000)
    await made.add(...ids(300).map((id) => message(`later ${id}`)))
    await pass(
      made.clock,
      () => made.sent().filter((id) => id.startsWith('later')).length === 300,
      1000,
      'publishing what came later',
    )
    await calm()
    expect((await made.store.admin.stats()).pending).toBe(1)
    expect(slow(made)).toBe(false)
    expect(errors(made)).toContain(
      'a message that was given up cannot be stored as a dead letter; it is set aside and tried again later',
    )
  })

  test('P8: a hundred messages that cannot become dead letters are set aside at once, with one line in the log', async () => {
    const made = onRefusing(({ kind }) => kind === 'dead', refusal, { batchSize: 100 })
    made.transport.behaviour = () => refusedForGood
    await made.add(...ids(100).map((id) => message(id)))
    await pass(
      made.clock,
      () => made.relay.held === 0 && made.transport.published.length === 100,
      1000,
      'setting aside',
    )
    made.transport.behaviour = () => ({ kind: 'confirmed' })
    await made.add(message('sound'))
    await pass(made.clock, () => made.sent().includes('sound'), 1000, 'the sound one')
    expect(errors(made)).toHaveLength(1)
    expect(slow(made)).toBe(false)
  })

  test('once dead letters can be stored again, what was set aside becomes one', async () => {
    let broken = true
    const made = onRefusing(({ kind }) => broken && kind === 'dead')
    made.transport.behaviour = () => refusedForGood
    await made.add(message('a'))
    await pass(
      made.clock,
      () => made.relay.held === 0 && made.transport.published.length === 1,
      1000,
      'setting aside',
    )
    broken = false
    await made.clock.advance(300_000)
    await pass(
      made.clock,
      () => made.relay.held === 0 && made.transport.published.length === 2,
      2000,
      'the second try',
    )
    await calm()
    expect((await made.store.admin.deadLetters.list()).map(({ id }) => id)).toEqual(['a'])
  })

  for (const [says, cause] of [
    ['starts up', { code: '57P03' }],
    ['is read-only', { code: '25006' }],
    ['waits for a lock', new MersalError('MERSAL_STORE_BUSY', 'took too long')],
  ] as const) {
    test(`P10: while the database ${says}, nothing is set aside, however long it takes`, async () => {
      let away = true
      const instead: string[] = []
      const made = onRefusing(
        ({ kind }) => {
          // It comes back between any two statements: for others than those that were published.
          if (kind !== 'sent') instead.push(kind)
          return away && kind === 'sent'
        },
        () =>
          cause instanceof MersalError
            ? cause
            : new MersalError('MERSAL_STORE_FAILED', 'settling failed', { cause }),
      )
      await made.add(...ids(3).map((id) => message(id)))
      await pass(made.clock, () => made.transport.published.length === 3, 1000, 'publishing')
      for (let steps = 0; steps < 300; steps++) await made.clock.advance(500)
      expect(instead).toEqual([])
      away = false
      await pass(made.clock, () => made.relay.held === 0, 5000, 'the settlement')
      expect((await made.store.admin.stats()).pending).toBe(0)
      expect(made.transport.published).toHaveLength(3)
    })
  }

  test('P6: a published message that cannot be kept is removed without a copy, published once, and reported', async () => {
    const made = onRefusing((settlement) => settlement.kind === 'sent' && settlement.keep !== false)
    await made.add(...ids(5).map((id) => message(id)))
    await pass(
      made.clock,
      () => made.relay.held === 0 && made.transport.published.length === 5,
      1000,
      'the removal',
    )
    for (let minutes = 0; minutes < 10; minutes++) await made.clock.advance(60_000)
    expect(made.transport.published).toHaveLength(5)
    expect((await made.store.admin.stats()).pending).toBe(0)
    expect(errors(made)).toEqual([
      'a published message cannot be kept; its row was removed without a copy',
    ])
  })

  test('P6: a published message whose row cannot be removed is not published again by this relay, however long it lives', async () => {
    let broken = true
    const made = onRefusing(({ kind }, id) => broken && kind === 'sent' && id === 'm2')
    await made.add(
      ...ids(5).map((id) => message(id, { key: id === 'm2' || id === 'm3' ? 'k' : 'other' })),
    )
    await pass(
      made.clock,
      () => made.relay.held === 0 && made.transport.published.length === 5,
      1000,
      'the others',
    )
    for (let minutes = 0; minutes < 200; minutes++) {
      await made.clock.advance(60_000)
      await calm()
    }
    expect(made.transport.published).toHaveLength(5)
    expect(slow(made)).toBe(false)
    broken = false
    await made.clock.advance(300_000)
    await pass(made.clock, () => made.relay.held === 0, 2000, 'the removal')
    await calm()
    expect((await made.store.admin.stats()).pending).toBe(0)
    expect(made.transport.published).toHaveLength(5)
  })

  test('P8: a refused message whose retry cannot be recorded stops none of the others, now and later', async () => {
    const made = onRefusing(({ kind }) => kind === 'retry')
    made.transport.behaviour = ({ id }) => (id === 'm3' ? refusedOnce : { kind: 'confirmed' })
    await made.add(...ids(10).map((id) => message(id)))
    await pass(
      made.clock,
      () => made.transport.published.length === 10 && made.relay.held === 1,
      1000,
      'settling the others',
    )
    for (const [step, round] of ['held', 'again', 'later'].entries()) {
      await made.add(message(round))
      await pass(made.clock, () => made.sent().includes(round), 2000, `the message ${round}`)
      await made.clock.advance(20_000 * (step + 1))
    }
  })

  test('P10: a published message of which nothing can be recorded stops the others until its claim is over, and is published once', async () => {
    const made = onRefusing((_, id) => id === 'bad')
    await made.add(message('bad'))
    await pass(made.clock, () => made.transport.published.length === 1, 1000, 'publishing')
    await made.clock.advance(1000)
    await made.add(message('later'))
    await pass(made.clock, () => made.sent().includes('later'), 60_000, 'the later message')
    expect(made.sent().filter((id) => id === 'bad')).toHaveLength(1)
  })

  test('P6: while nothing can be settled, nothing more is claimed, and after ten minutes of it everything was published once', async () => {
    let away = true
    const made = onRefusing(
      () => away,
      () => new Error('connection refused'),
      { claimMs: 1000, batchSize: 10 },
    )
    await made.add(...ids(50).map((id) => message(id)))
    for (let minutes = 0; minutes < 10; minutes++) {
      await made.clock.advance(60_000)
      await calm()
    }
    expect(made.transport.published.length).toBeLessThanOrEqual(30)
    away = false
    await pass(
      made.clock,
      () => made.transport.published.length >= 50 && made.relay.held === 0,
      40_000,
      'the end of the outage',
    )
    await calm()
    expect(made.sent().toSorted()).toEqual(ids(50).toSorted())
    expect((await made.store.admin.stats()).pending).toBe(0)
    expect(slow(made)).toBe(false)
  })

  test('P8: a published message whose row somebody holds locked stops nothing that comes later', async () => {
    let locked = true
    const published = (): boolean => made.sent().includes('m3')
    const made = onRefusing(
      (_, id) => locked && id === 'm3',
      () => new MersalError('MERSAL_STORE_BUSY', 'took too long'),
      {},
      // Claims pass over rows that are locked.
      () => (locked && published() ? ['held'] : []),
    )
    await made.add(...ids(10).map((id) => message(id, id === 'm3' ? { key: 'held' } : {})))
    await pass(made.clock, () => published() && made.relay.held === 1, 10_000, 'the others')
    for (let minutes = 0; minutes < 10; minutes++) {
      await made.add(message(`later ${minutes}`))
      await pass(
        made.clock,
        () => made.sent().includes(`later ${minutes}`) && made.relay.held === 1,
        30_000,
        'a later message',
      )
      await made.clock.advance(60_000)
    }
    locked = false
    await pass(made.clock, () => made.relay.held === 0, 60_000, 'the settlement of the locked row')
    expect((await made.store.admin.stats()).pending).toBe(0)
    expect(made.sent().filter((id) => id === 'm3')).toHaveLength(1)
  })

  test('a storage of somebody else that throws for one row of many settles the others all the same', async () => {
    const made = onRefusing(
      ({ kind }) => kind === 'dead',
      () => new Error('duplicate key'),
    )
    made.transport.behaviour = ({ id }) => (id === 'm3' ? refusedForGood : { kind: 'confirmed' })
    await made.add(...ids(10).map((id) => message(id)))
    await pass(
      made.clock,
      () => made.relay.held === 0 && made.transport.published.length === 10,
      10_000,
      'settling',
    )
    expect((await made.store.admin.stats()).pending).toBe(1)
  })
})
