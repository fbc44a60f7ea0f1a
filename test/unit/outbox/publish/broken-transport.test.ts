import { describe, expect, test } from 'vitest'
import type { Transport } from '../../../../src/core/transport.ts'
import { createRelays } from '../../../../src/outbox/many-stores/relays.ts'
import { memoryStore } from '../../../../src/stores/memory.ts'
import { calm, message, relays, type Setup, testTransport } from '../support.ts'

const { start } = relays()

/** What somebody may pass who does not use the compiler. */
function broken(change: Record<string, unknown>): Transport {
  return { ...testTransport(), ...change }
}

test('a transport without features is refused by createRelays, with the name of the field', () => {
  const transport = broken({ features: undefined })
  const stores = { a: memoryStore() }
  expect(() => createRelays({ stores, transport })).toThrow('relays.transport.features')
  expect(() => createRelays({ stores, bridges: { far: transport } })).toThrow(
    'relays.bridges.far.features',
  )
  expect(() => createRelays({ stores: { a: { store: memoryStore(), transport } } })).toThrow(
    'relays.stores.a.transport.features',
  )
})

describe('a transport that breaks its contract is a fault of its destinations alone', () => {
  const fail = (): never => {
    throw new Error('a bug in the transport')
  }
  const features = {
    maxMessageBytes: 9,
    get ordering() {
      return fail()
    },
  }
  const faults: readonly (readonly [string, Record<string, unknown>])[] = [
    ['features that throw', { features }],
    ['a publish that throws', { publish: fail }],
    ['a publish that answers nothing', { publish: () => undefined }],
    ['a publish with fewer answers than messages', { publish: () => [] }],
    ['a publish that rejects', { publish: () => [Promise.reject(new Error('no'))] }],
    ['an answer that is none', { publish: () => [Promise.resolve('yes')] }],
  ]

  async function publishBeside(change: Record<string, unknown>): Promise<Setup> {
    const good = testTransport()
    const transports = new Map([
      ['default', broken(change)],
      ['other', good],
    ])
    const made = start({ express: false }, { transport: good, transports })
    // Two of one key, so that the transport is asked how many go together.
    await made.add(
      message('a', { key: 'k' }),
      message('b', { key: 'k' }),
      message('c', { transport: 'other' }),
    )
    await calm()
    return made
  }

  test.each(faults)('%s', async (_, change) => {
    const { clock, log, relay, transport, store } = await publishBeside(change)
    expect(transport.published.map(({ message: { id } }) => id)).toEqual(['c'])
    expect(log.filter(({ message: text }) => text.includes('claiming'))).toEqual([])
    await clock.advance(20_000)
    await calm()
    const { pending, dead } = await store.admin.stats()
    expect({ pending, dead }).toEqual({ pending: 2, dead: 0 })
    const warned = log.find(({ fields }) => fields['destination'] === 'default/queue/q')
    expect(warned?.message).toContain('does not answer')
    expect(relay.held).toBe(0)
  })
})
