import { describe, expect, test } from 'vitest'
import { decodeAside, encodeAside } from '../../../../src/transports/kafka/consume/aside.ts'

describe('the reason of a message on Kafka that was set aside', () => {
  test('comes back as it was', () => {
    const aside = { reason: 'rejected', error: 'Error: "no"\n  at x' } as const
    expect(decodeAside(encodeAside(aside))).toEqual(aside)
  })

  test.each([
    undefined,
    '',
    'yes',
    '{',
    'null',
    '7',
    '[]',
    '"text"',
    '{}',
    '{"reason":"because","error":"x"}',
    '{"reason":"rejected","error":{}}',
    '{"reason":"rejected"}',
  ])('that a foreign hand has written (%s) counts as nothing', (text) => {
    expect(decodeAside(text)).toBeUndefined()
  })
})
