import { describe, expect, test } from 'vitest'
import { readKeyHeader } from '../../../src/http/key-header.ts'

const strict = (value: string | readonly string[] | null | undefined) =>
  readKeyHeader(value, { unquoted: false })

describe('the header Idempotency-Key', () => {
  test.each([
    ['"8e03978e-40d5-43dd-bc93-6894a57f9324"', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    ['  "a b"  ', 'a b'],
    ['"with \\"quotes\\" and \\\\"', 'with "quotes" and \\'],
    ['"k";version=1;note="a;b";flag', 'k'],
    ['""', ''],
  ])('%s is the key %j', (value, key) => {
    expect(strict(value)).toEqual({ kind: 'key', key })
  })

  test.each([
    '8e03978e-40d5-43dd-bc93-6894a57f9324',
    '"a", "b"',
    '"a',
    'a"',
    '"a\\n"',
    '"ä"',
    '"a" b',
    '"k";Big=1',
    '',
    '?1',
    '"tab\there"',
  ])('%j is malformed', (value) => {
    expect(strict(value)).toEqual({ kind: 'malformed' })
  })

  test('none is missing, and several are malformed', () => {
    expect(strict(undefined)).toEqual({ kind: 'missing' })
    expect(strict(null)).toEqual({ kind: 'missing' })
    expect(strict(['"a"', '"b"'])).toEqual({ kind: 'malformed' })
  })

  test('a key without quotation marks is taken only if that was asked for', () => {
    const lenient = (value: string) => readKeyHeader(value, { unquoted: true })
    expect(lenient('8e03978e-40d5')).toEqual({ kind: 'key', key: '8e03978e-40d5' })
    expect(lenient('"a"')).toEqual({ kind: 'key', key: 'a' })
    for (const value of ['a b', 'a,b', 'a;b', 'a"', '"a', '', 'ä'])
      expect(lenient(value), value).toEqual({ kind: 'malformed' })
  })

  test('a hostile header of 16 KiB is read in no time', () => {
    const begun = performance.now()
    for (const part of [';a="\\"', ';a=1', '; a', '\\"'])
      expect(strict(`"k"${part.repeat(16_384 / part.length)}!`)).toEqual({ kind: 'malformed' })
    expect(performance.now() - begun).toBeLessThan(500)
  })
})
