import { expect, test } from 'vitest'
import { byteLength, hasControlCharacters, isPlain } from '../../../src/lib/text.ts'

test('each control character is found, and so is each that reorders or breaks text', () => {
  const marks = [0x200e, 0x200f, 0x202a, 0x202e, 0x2066, 0x2069, 0x2028, 0x2029]
  const controls = Array.from({ length: 0xa0 }, (_, code) => code).filter(
    (code) => code < 0x20 || code >= 0x7f,
  )
  for (const code of [...controls, ...marks])
    expect(hasControlCharacters(`a${String.fromCharCode(code)}b`)).toBe(true)
})

test('plain text has no control characters, and as many bytes as characters', () => {
  const plain = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join('')
  expect([isPlain(plain), hasControlCharacters(plain)]).toEqual([true, false])
  expect(byteLength(plain)).toBe(plain.length)
  for (const text of ['é', '\u{1f600}', '\u00a0', 'a\n', '\u007f'])
    expect(isPlain(text)).toBe(false)
  expect(hasControlCharacters('é\u{1f600}\u00a0')).toBe(false)
  expect(isPlain('')).toBe(true)
})
