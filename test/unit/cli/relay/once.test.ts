import { channel } from 'node:diagnostics_channel'
import { describe, expect, test } from 'vitest'
import { runOnce } from '../../../../src/cli/relay/once.ts'
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

/** What one run says whose relay does this. */
async function drained(work: () => void): Promise<boolean> {
  using once = runOnce({ name: 'relay', logger: silentLogger, withinMs: 5000, passedMs: 0 })
  return once.drain([relayThat(() => Promise.resolve(work()))], never)
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

  test('counts its time from the start of the program', async () => {
    using once = runOnce({
      name: 'relay',
      logger: silentLogger,
      withinMs: 60_000,
      passedMs: 60_000,
    })
    await once.late
    const waits = relayThat(async ({ signal } = {}) => signal?.throwIfAborted())
    expect(await once.drain([waits], never)).toBe(false)
  })
})
