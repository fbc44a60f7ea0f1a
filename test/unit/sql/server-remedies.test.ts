import { describe, expect, test } from 'vitest'
import { errorText } from '../../../src/core/errors/error-text.ts'
import { ambiguousUrl } from '../../../src/lib/ambiguous-url.ts'
import { storeFailure as mysqlFailure } from '../../../src/sql/mysql/failure.ts'
import { storeFailure as postgresFailure } from '../../../src/sql/postgres/failure.ts'
import { remedies } from '../../../src/sql/server-remedies.ts'

/** As the drivers give them: what the server said, and its code. */
const fault = (message: string, code: object): Error => Object.assign(new Error(message), code)

describe('an error of a server says what an operator does about it', () => {
  test.each([
    ['28P01', 'the server refuses the user or the password. Correct them in the options of the'],
    ['28000', 'the server does not let this user in from here: correct the user, or add a line'],
    ['3D000', 'there is no such database: create it, or correct its name'],
    ['42501', 'the role lacks a right: '],
    ['53100', 'the disk of the server is full: make room there'],
    ['25006', 'the server takes no writes: '],
  ])('PostgreSQL, %s', (code, remedy) => {
    const cause = fault('as the server said it', { severity: 'ERROR', code })
    const error = postgresFailure('mersal', 'claiming', cause)
    expect(error.message).toContain(`postgres: claiming failed: ${remedy}`)
    expect(error).toMatchObject({ code: 'MERSAL_STORE_FAILED', cause })
  })

  test.each([
    [1045, 'the server refuses the user or the password. Correct them in the options of the'],
    [1044, 'the user lacks a right: '],
    [1142, 'the user lacks a right: '],
    [1021, 'the disk of the server is full: make room there'],
    [1114, 'the disk of the server is full: make room there'],
    [1290, 'the server takes no writes: '],
    [1836, 'the server takes no writes: '],
  ])('MariaDB, %i', (errno, remedy) => {
    const cause = fault('as the server said it', { errno, code: 'ER_SOMETHING' })
    const error = mysqlFailure('shop', 'claiming', cause)
    expect(error.message).toContain(`mysql: claiming failed: ${remedy}`)
    expect(error).toMatchObject({ code: 'MERSAL_STORE_FAILED', cause })
  })

  test.each([
    [
      'an address that cannot be read',
      'Invalid URL',
      'ERR_INVALID_URL',
      'the address cannot be read: look at its host, and at its port',
    ],
    [
      'an address without a user',
      'no PostgreSQL user name specified in startup packet',
      '28000',
      'the address names no user, or lacks its password',
    ],
    [
      'an address without a password',
      'SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string',
      undefined,
      'the address names no user, or lacks its password',
    ],
  ])('PostgreSQL, %s', (_, text, code, remedy) => {
    const { message } = postgresFailure('mersal', 'claiming', fault(text, { code }))
    expect(message).toContain(`postgres: claiming failed: ${remedy}`)
  })

  test('others are told as the server told them', () => {
    const cause = fault('an internal error', { severity: 'ERROR', code: 'XX000' })
    expect(postgresFailure('mersal', 'claiming', cause).message).toBe('postgres: claiming failed')
  })
})

test('what hides secrets in logs leaves the remedies whole', () => {
  const { right, ...plain } = remedies
  for (const text of [...Object.values(plain), right('role'), ambiguousUrl])
    expect(errorText(new Error(`failed: ${text}`))).toContain(text)
})
