import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { nats } from '../../../../src/nats.ts'
import { parseAddress } from '../../../../src/transports/nats/connection/address.ts'
import { describer } from '../../../../src/transports/shared/describe.ts'

describe('the URL of a NATS server', () => {
  test('gives host, port and login, decoded', () => {
    expect(parseAddress('nats://shop:p%40ss@db.example:4333')).toEqual({
      servers: ['db.example:4333'],
      secure: false,
      login: { user: 'shop', pass: 'p@ss' },
    })
    expect(parseAddress('tls://to%2Fken@[::1]')).toEqual({
      servers: ['[::1]:4222'],
      secure: true,
      login: { token: 'to/ken' },
    })
  })

  test('may name several servers of one cluster', () => {
    expect(parseAddress('nats://u:p@a:1,nats://b, nats://u:p@c:3')).toMatchObject({
      servers: ['a:1', 'b:4222', 'c:3'],
      login: { user: 'u', pass: 'p' },
    })
    expect(() => parseAddress('nats://u:p@a,nats://u:q@b')).toThrow(/same user and password/)
  })

  test.each([
    ['', /expected text like/],
    ['http://host', /nats:\/\/ or tls:\/\//],
    ['nats://', /URL|host/],
    ['nats://host/path', /must end with the port/],
    ['nats://host?x=1', /must end with the port/],
    ['nats://user:pa@ss@host', /percent-encode/],
    ['nats://user:pa%ss@host', /percent-encode/],
  ])('that is mistaken is an error that shows nothing of it: %s', (url, expected) => {
    let caught: unknown
    try {
      nats({ url })
    } catch (error) {
      caught = error
    }
    expect(caught).toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'nats.url' },
    })
    expect((caught as Error).message).toMatch(expected)
    expect(inspect(caught)).not.toMatch(/pa@ss|pa%ss/)
  })

  test('is hidden in texts of the client, in each form', () => {
    const secret = 'pa55/w&rd"'
    const describeError = describer([secret])
    for (const form of [secret, encodeURIComponent(secret), JSON.stringify(secret)])
      expect(describeError(new Error(`refused ${form}`))).not.toContain(form)
    expect(describeError(new Error('no nats://u:p@host'))).toBe('no nats://***@host')
  })
})
