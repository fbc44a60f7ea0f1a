import { describe, expect, test } from 'vitest'
import { MersalError } from '../../../src/index.ts'
import { describeError } from '../../../src/operate/describe-error.ts'

/** As drivers throw them. */
const thrown = (message: string, fields: object): Error => Object.assign(new Error(message), fields)

describe('an error that the program says', () => {
  test.each([
    [
      'has the SQLSTATE of its cause beside our code',
      new MersalError('MERSAL_STORE_FAILED', 'migrating the schema failed', {
        cause: thrown('permission denied for database shop', { code: '42501' }),
      }),
      'migrating the schema failed: permission denied for database shop (MERSAL_STORE_FAILED, 42501)',
    ],
    [
      'has the code of MySQL and its SQLSTATE',
      new MersalError('MERSAL_STORE_FAILED', 'no luck', {
        cause: thrown('table is full', { code: 'ER_RECORD_FILE_FULL', sqlState: 'HY000' }),
      }),
      'no luck: table is full (MERSAL_STORE_FAILED, ER_RECORD_FILE_FULL, HY000)',
    ],
    [
      'has the SQLSTATE of an error of the driver alone',
      thrown('terminating connection', { code: '57P01' }),
      'terminating connection (57P01)',
    ],
    [
      'repeats no code that its text has',
      thrown('connect ECONNREFUSED 127.0.0.1:5432', { code: 'ECONNREFUSED' }),
      'connect ECONNREFUSED 127.0.0.1:5432',
    ],
    ['has no codes where there are none', new Error('no luck'), 'no luck'],
  ])('%s', (_, error, text) => {
    expect(describeError(error)).toBe(text)
  })
})
