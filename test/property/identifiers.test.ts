import fc from 'fast-check'
import { expect, test } from 'vitest'
import { checkIdentifier, quoteIdentifier } from '../../src/sql/identifiers.ts'
import { isUuid, uuidv7 } from '../../src/lib/uuid.ts'
import { holdsFor } from './check.ts'

test('a name is taken as it is, or refused with an error that does not repeat it', async () => {
  const names = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.string({ unit: fc.constantFrom('a', 'Z', '_', '7', '-', '"'), maxLength: 60 }),
  )
  await holdsFor([names], (name) => {
    let taken: string
    try {
      taken = checkIdentifier('schema', name)
    } catch (error) {
      expect((error as { code: string }).code).toBe('MERSAL_INVALID_OPTIONS')
      if (name.length > 12) expect((error as Error).message).not.toContain(name)
      return
    }
    expect(taken).toBe(name)
    expect(quoteIdentifier(taken)).toBe(`"${name}"`)
    expect(Buffer.byteLength(taken)).toBeLessThanOrEqual(48)
  })
})

test('a quoted name ends where it says, whatever it holds', async () => {
  await holdsFor([fc.string({ unit: fc.constantFrom('"', ';', 'a', ' ', '\\') })], (name) => {
    const quoted = quoteIdentifier(name)
    expect(quoted.slice(1, -1).replaceAll('""', '')).not.toContain('"')
    expect(quoted.slice(1, -1).replaceAll('""', '"')).toBe(name)
  })
})

test('identifiers of messages are UUIDs of version 7 and sort by their millisecond', async () => {
  const times = fc.integer({ min: 0, max: 2 ** 48 - 1 })
  await holdsFor([times, times], (one, other) => {
    const [left, right] = [uuidv7(one), uuidv7(other)]
    expect(isUuid(left)).toBe(true)
    expect(left[14]).toBe('7')
    expect('89ab').toContain(left[19])
    if (one !== other) expect(left < right).toBe(one < other)
  })
})
