import { channel } from 'node:diagnostics_channel'
import { describe, expect, test } from 'vitest'
import { type DrainedRelay, runOnce } from '../../../../src/cli/relay/once.ts'
import type { DestinationOverview } from '../../../../src/core/operations.ts'
import type { Events } from '../../../../src/core/telemetry.ts'
import { silentLogger } from '../../../../src/index.ts'
import type { ServedRelay } from '../../../../src/outbox/many-stores/store-relay.ts'

const never = new Promise<string>(() => {})

function published(outcome: string, more: Partial<Events['mersal:publish']> = {}): void {
  const event = { app: 'relay/a', id: 'm1', to: 'default:queue:q', outcome, attempt: 1, ...more }
  channel('mersal:publish').publish(event)
}

function relayThat(drain: ServedRelay['drain']): ServedRelay {
  return { name: 'a', app: 'relay/a', state: 'running', held: 0, wake: () => {}, drain }
}

const to = 'default:queue:q'

/** What one run says whose relay does this, on a store that says of its outbox what is given. */
async function drained(work: () => void, store: DrainedRelay['store'] = {}): Promise<boolean> {
  using once = runOnce({ name: 'relay', logger: silentLogger, withinMs: 5000, passedMs: 0 })
  return once.drain([{ relay: relayThat(() => Promise.resolve(work())), store }], never)
}

type Numbers = Partial<Pick<DestinationOverview, 'pending' | 'due' | 'claimed'>>

/** A store with one destination; `delayed`: rows that wait for the delay of their senders. */
function storeWith(numbers: Numbers, delayed = 0): DrainedRelay['store'] {
  const counts = {
    pending: 0,
    due: 0,
    claimed: 0,
    dead: 0,
    oldestDueMs: 0,
    oldestMs: 0,
    ...numbers,
  }
  const upcoming = Array.from({ length: delayed }, (_, n) => ({
    position: BigInt(n),
    inMs: 3_600_000,
  }))
  return {
    operations: {
      overview: async () => ({
        ...counts,
        kept: 0,
        keys: [],
        destinations: counts.pending === 0 ? [] : [{ destination: to, ...counts }],
      }),
    },
    outbox: { waiting: { upcoming: async () => upcoming } },
  }
}

describe('mersal relay --once', () => {
  test('is done when everything was confirmed', async () => {
    expect(await drained(() => published('confirmed'))).toBe(true)
  })

  test.each(['unavailable', 'unknown', 'refused'])(
    'is not done while one message was answered with %s, though no breaker is open',
    async (outcome) => {
      expect(await drained(() => published(outcome))).toBe(false)
    },
  )

  test('is done when the message was confirmed later, or became a dead letter', async () => {
    const confirmed = () => {
      published('unknown')
      published('confirmed', { attempt: 2 })
    }
    expect(await drained(confirmed)).toBe(true)
    const dead = () => {
      published('refused')
      channel('mersal:dead').publish({
        app: 'relay/a',
        id: 'm1',
        to: 'default:queue:q',
        reason: 'rejected',
      })
    }
    expect(await drained(dead)).toBe(true)
  })

  test('tells the stores apart: what one relay confirms is not what another one waits for', async () => {
    const work = () => {
      published('unavailable')
      published('confirmed', { app: 'relay/b' })
    }
    expect(await drained(work)).toBe(false)
  })

  test('forgets no message, however many there are', async () => {
    const names = Array.from({ length: 1001 }, (_, index) => `m${index}`)
    const work = () => {
      for (const id of names) published('unavailable', { id })
      for (const id of names.slice(0, 1000)) published('confirmed', { id })
    }
    expect(await drained(work)).toBe(false)
  })

  test('is done when a message that was not confirmed has expired', async () => {
    const work = (by: 'relay' | 'receiver') => () => {
      published('unavailable')
      const event = { app: 'relay/a', id: 'm1', type: 't', place: to, by }
      channel('mersal:expired').publish(event)
    }
    expect(await drained(work('relay'))).toBe(true)
    expect(await drained(work('receiver'))).toBe(false)
  })

  test('is done when a thousand messages that were tried twice were confirmed', async () => {
    const names = Array.from({ length: 1000 }, (_, index) => `m${index}`)
    const work = () => {
      for (const outcome of ['unavailable', 'unavailable', 'confirmed'])
        for (const id of names) published(outcome, { id })
    }
    expect(await drained(work)).toBe(true)
  })

  describe('asks the store about what was not confirmed', () => {
    const unconfirmed = () => published('unavailable')
    const silent = () =>
      channel('mersal:breaker').publish({ app: 'relay/a', destination: to, state: 'open' })

    test.each<[string, Numbers, number, boolean]>([
      ['nothing is there: another relay has confirmed it', {}, 0, true],
      ['another relay holds it', { pending: 1, claimed: 1 }, 0, true],
      ['only delayed messages are there', { pending: 3 }, 3, true],
      ['it waits for another try', { pending: 1 }, 0, false],
      ['it waits for another try, beside delayed ones', { pending: 4 }, 3, false],
      ['it is due again', { pending: 4, due: 1 }, 3, false],
    ])('%s', async (_, numbers, delayed, done) => {
      expect(await drained(unconfirmed, storeWith(numbers, delayed))).toBe(done)
      expect(await drained(silent, storeWith(numbers, delayed))).toBe(done)
    })

    test('more than are told apart, and all of them have gone', async () => {
      const work = () => {
        for (let n = 0; n < 3000; n++) published('refused', { id: `m${n}` })
      }
      expect(await drained(work, storeWith({}))).toBe(true)
      expect(await drained(work, storeWith({ pending: 1 }))).toBe(false)
    })

    test('and takes them for left if it cannot say', async () => {
      const store = {
        operations: { overview: () => Promise.reject(new Error('connect ECONNREFUSED')) },
      }
      expect(await drained(unconfirmed, store)).toBe(false)
    })

    test('but not when everything was confirmed', async () => {
      expect(await drained(() => published('confirmed'), storeWith({ pending: 1 }))).toBe(true)
    })
  })

  test('counts its time from the start of the program', async () => {
    using once = runOnce({
      name: 'relay',
      logger: silentLogger,
      withinMs: 60_000,
      passedMs: 60_000,
    })
    await once.late
    const waits = relayThat(async ({ signal } = {}) => signal?.throwIfAborted())
    expect(await once.drain([{ relay: waits, store: {} }], never)).toBe(false)
  })
})
