import { headers as makeHeaders, MsgHdrsImpl } from '@nats-io/transport-node'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { headerBytes, toEnvelope, toHeaders } from '../../../../src/transports/nats/publish/wire.ts'
import { attemptOf } from '../../../../src/transports/nats/consume/state.ts'
import { arrivalOf } from '../../../../src/transports/nats/consume/delivery.ts'

const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((one) => one.isWellFormed())
const name = fc.oneof(
  fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/),
  fc.constantFrom('nats-msg-id', 'mersal-type', 'constructor', '__proto__'),
)

describe('a message in NATS', () => {
  test('comes back with its id, type, headers and bytes, whatever they hold (P12)', () => {
    fc.assert(
      fc.property(text, text, fc.array(fc.tuple(name, text)), (id, type, pairs) => {
        const headers = Object.fromEntries(pairs)
        const wire = toHeaders({ id, type, headers }, 'message id')
        const bytes = (wire as MsgHdrsImpl).encode()
        expect(headerBytes(wire)).toBe(bytes.byteLength)
        const body = Buffer.from('body')
        const back = toEnvelope({ headers: MsgHdrsImpl.decode(bytes), data: body })
        expect(back).toEqual({ id, type, headers, body })
      }),
    )
  })

  test('of a foreign sender has the id that it gave to JetStream, and empty texts for the rest', () => {
    const wire = makeHeaders()
    wire.set('Nats-Msg-Id', 'foreign')
    wire.set('X-Note', 'hello')
    expect(toEnvelope({ headers: wire, data: Buffer.from('') })).toMatchObject({
      id: 'foreign',
      type: '',
      headers: { 'x-note': 'hello' },
    })
    wire.set('Mersal-Rest', 'no JSON')
    expect(toEnvelope({ headers: wire, data: Buffer.from('') }).id).toBe('foreign')
  })
})

describe('a delivery of JetStream', () => {
  const arrived = (reply: string) => arrivalOf({ reply } as Parameters<typeof arrivalOf>[0])

  test('is told by the address for its acknowledgement, of old and new servers', () => {
    expect(arrived('$JS.ACK.stream.mersal.3.17.40.1795946501.5')).toMatchObject({
      delivered: 3,
      sequence: 17,
      key: '17-1795946501',
    })
    expect(arrived('$JS.ACK._.HASH.stream.mersal.3.17.40.1795946501.5.token')).toMatchObject({
      delivered: 3,
      sequence: 17,
      key: '17-1795946501',
    })
    expect(arrived('_INBOX.x.1')).toBeUndefined()
    expect(arrived('$JS.ACK.a.b.c.d.e.f.g')).toBeUndefined()
  })

  test('is an attempt, unless it was charged to nobody (P8)', () => {
    const fourth = { delivered: 4 } as Parameters<typeof attemptOf>[0]
    expect(attemptOf(fourth, undefined)).toBe(4)
    // Of three deliveries one was charged; this is the next.
    expect(attemptOf(fourth, { delivered: 3, attempts: 1 })).toBe(2)
    // The server was killed and has forgotten deliveries.
    expect(attemptOf({ ...fourth, delivered: 2 }, { delivered: 5, attempts: 1 })).toBe(1)
  })
})
