import { describe, expect, test } from 'vitest'
import { arrivedOf, toHeaders, withOwn } from '../../../../src/transports/kafka/publish/wire.ts'

const stored = (headers: Map<Buffer, Buffer>, value: Buffer | null = Buffer.from('body')) =>
  arrivedOf({ offset: 0, timestamp: 0, key: null, value, headers: [...headers] })

describe('a message on the wire of Kafka', () => {
  test('comes back as it was, also with headers that are named like ours', () => {
    const headers = { a: '', 'mersal-id': 'not the id', 'mersal-header-x': 'y', Zoë: ' ü\n' }
    const message = { id: 'id', type: 'type', headers }
    const { envelope, own } = stored(toHeaders(message))
    expect(envelope).toEqual({ ...message, body: new Uint8Array(Buffer.from('body')) })
    expect(own).toEqual({ id: 'id', type: 'type' })
  })

  test('keeps what is ours apart from what is its own', () => {
    const wire = withOwn(toHeaders({ id: 'i', type: 't', headers: { due: '1' } }), { due: 2 })
    const { envelope, own } = stored(wire)
    expect(envelope.headers).toEqual({ due: '1' })
    expect(own.due).toBe('2')
  })

  test('without anything has empty texts and an empty body', () => {
    const { envelope } = stored(new Map(), null)
    expect(envelope).toEqual({ id: '', type: '', headers: {}, body: new Uint8Array() })
  })

  test('has the attributes of a CloudEvent as the binding of Kafka says', () => {
    const headers = {
      'ce-specversion': '1.0',
      'ce-subject': 'Größe',
      'content-type': 'text/plain',
      ce_mine: 'x',
    }
    const message = { id: 'i', type: 't', headers }
    const wire = toHeaders(message)
    const texts = [...wire].map(([name, value]) => [String(name), String(value)])
    expect(Object.fromEntries(texts)).toEqual({
      'mersal-id': 'i',
      'mersal-type': 't',
      ce_specversion: '1.0',
      ce_subject: 'Größe',
      'content-type': 'text/plain',
      'mersal-header-ce_mine': 'x',
    })
    expect(stored(wire).envelope.headers).toEqual(headers)
  })

  test('that is no CloudEvent keeps its names', () => {
    const headers = { 'ce-subject': 'a', ce_subject: 'b' }
    const wire = toHeaders({ id: 'i', type: 't', headers })
    expect([...wire.keys()].map(String)).toEqual(expect.arrayContaining(Object.keys(headers)))
    expect(stored(wire).envelope.headers).toEqual(headers)
  })

  test('that is a CloudEvent with the names of HTTP is read as well', () => {
    const headers = { 'ce-specversion': '1.0', 'ce-id': 'a' }
    const wire = new Map(
      Object.entries(headers).map(([name, value]) => [Buffer.from(name), Buffer.from(value)]),
    )
    expect(stored(wire).envelope.headers).toEqual(headers)
  })
})
