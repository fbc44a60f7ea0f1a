import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isName } from '../../../../src/core/messages/validation.ts'
import { nameOf, namesOf, tokenOf } from '../../../../src/transports/nats/topology/names.ts'

const names = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,60}$/).filter(isName)

describe('names of streams and subjects', () => {
  test('each name has one token of its own, which NATS takes', () => {
    fc.assert(
      fc.property(names, names, (one, other) => {
        expect(tokenOf(one)).toMatch(/^[^\s.*>/\\]+$/)
        expect(nameOf(tokenOf(one))).toBe(one)
        expect(tokenOf(one) === tokenOf(other)).toBe(one === other)
      }),
    )
  })

  test('a stream tells its queue, and foreign streams are none of ours', () => {
    const shop = namesOf('shop')
    expect(shop.streamOf('a.b/c:d')).toBe('shop-queue-a~b+c=d')
    expect(shop.queueOf(shop.streamOf('a.b/c:d'))).toBe('a.b/c:d')
    expect(shop.queueOf('shop-topics')).toBeUndefined()
    expect(shop.queueOf('other-queue-x')).toBeUndefined()
  })
})
