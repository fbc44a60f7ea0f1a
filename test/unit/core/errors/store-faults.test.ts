import { describe, expect, test } from 'vitest'
import { MersalError } from '../../../../src/index.ts'
import { driverFaultOf, storeFaultOf } from '../../../../src/core/errors/store-faults.ts'

const make = (name: string, message: string, more: object = {}): Error =>
  Object.assign(new Error(message), { name, ...more })
const driver = (code: string, more: object = {}) =>
  make('error', `the server said ${code}`, { code, severity: 'FATAL', ...more })

const away: readonly [string, unknown][] = [
  ['pg: the server shuts down', driver('57P01')],
  ['pg: it is starting', driver('57P03')],
  ['pg: too many connections', driver('53300')],
  ['pg: read-only', driver('25006')],
  ['pg: another password', driver('28P01')],
  ['pg: the connection was lost', make('Error', 'Connection terminated unexpectedly')],
  ['pg: the pool has none', make('Error', 'timeout exceeded when trying to connect')],
  [
    'Node: refused, tried at two addresses',
    new AggregateError([make('Error', 'no', { code: 'ECONNREFUSED' })]),
  ],
  [
    'Node: a certificate that has expired',
    make('Error', 'certificate has expired', { code: 'CERT_HAS_EXPIRED' }),
  ],
  ['pg: a server without TLS', make('Error', 'The server does not support SSL connections')],
  [
    'mysql2: another authority',
    make('Error', 'self-signed certificate', { code: 'HANDSHAKE_SSL_ERROR' }),
  ],
  ['postgres.js', make('Error', 'write CONNECTION_CLOSED', { code: 'CONNECTION_CLOSED' })],
  ['Drizzle over pg', make('DrizzleQueryError', 'Failed query', { cause: driver('57P01') })],
  ['TypeORM', make('QueryFailedError', 'it failed', { driverError: driver('25006') })],
  [
    'Sequelize: a statement',
    make('SequelizeDatabaseError', 'it failed', {
      parent: driver('57P03'),
      original: driver('57P03'),
    }),
  ],
  ['Sequelize: the pool', make('SequelizeConnectionAcquireTimeoutError', 'Operation timeout')],
  [
    'Knex: the pool',
    make('KnexTimeoutError', 'Knex: Timeout acquiring a connection. The pool is probably full'),
  ],
  ['MikroORM', make('DriverException', 'it failed', { previous: driver('08006') })],
  ['Prisma: no server', make('PrismaClientKnownRequestError', 'no', { code: 'P1001' })],
  ['Prisma: closed', make('PrismaClientKnownRequestError', 'no', { code: 'P1017' })],
  ['Prisma: the pool', make('PrismaClientKnownRequestError', 'no', { code: 'P2024' })],
  [
    'Prisma: a raw statement',
    make('PrismaClientKnownRequestError', 'no', {
      code: 'P2010',
      meta: { code: '25006', message: 'no' },
    }),
  ],
  [
    'Prisma with a driver adapter',
    make('PrismaClientKnownRequestError', 'no', {
      code: 'P2010',
      meta: {
        driverAdapterError: make('DriverAdapterError', 'no', {
          cause: { code: '57P01', kind: 'postgres' },
        }),
      },
    }),
  ],
  [
    'node:sqlite: busy',
    make('Error', 'database is locked', { code: 'ERR_SQLITE_ERROR', errcode: 5 }),
  ],
  [
    'node:sqlite: busy, extended',
    make('Error', 'database is locked', { code: 'ERR_SQLITE_ERROR', errcode: 517 }),
  ],
  [
    'better-sqlite3',
    make('SqliteError', 'attempt to write a readonly database', {
      code: 'SQLITE_READONLY_DBMOVED',
    }),
  ],
  [
    'mysql2: read-only',
    make('Error', 'no', { code: 'ER_OPTION_PREVENTS_STATEMENT', errno: 1290, sqlState: 'HY000' }),
  ],
  [
    'an error of Mersal around one',
    new MersalError('MERSAL_ROLLED_BACK', 'no', {
      cause: new Error('outer', { cause: driver('57P01') }),
    }),
  ],
]

describe('an error by which a database shows that it is away', () => {
  test.each(away)('%s', (_, error) => {
    expect(storeFaultOf(error)).toBe('away')
    expect(driverFaultOf(error)).toBe('away')
  })

  test.each([
    ['pg', driver('53100')],
    [
      'node:sqlite',
      make('Error', 'database or disk is full', { code: 'ERR_SQLITE_ERROR', errcode: 13 }),
    ],
    ['better-sqlite3', make('SqliteError', 'disk I/O error', { code: 'SQLITE_IOERR_WRITE' })],
    ['the file system', make('Error', 'no space', { code: 'ENOSPC' })],
  ])('a full disk is told apart: %s', (_, error) => {
    expect(storeFaultOf(new Error('outer', { cause: error }))).toBe('full')
  })

  test.each([
    ['a serialization failure', driver('40001')],
    ['a deadlock', driver('40P01')],
    ['a duplicate key', driver('23505')],
    ['a statement timeout', driver('57014')],
    ['a lock that was not to be had', driver('55P03')],
    ['a missing grant', driver('42501')],
    ['a constraint of SQLite', make('Error', 'no', { code: 'ERR_SQLITE_ERROR', errcode: 19 })],
    ['an error of the handler', new TypeError('x is not a function')],
    ['an error that has the code of a file', make('Error', 'no', { code: 'ENOENT' })],
    ['nothing', undefined],
  ])('%s is none', (_, error) => {
    expect(storeFaultOf(error)).toBeUndefined()
  })

  test('what a store of ours says of itself counts for the store, and not for one table', () => {
    const error = new MersalError('MERSAL_STORE_FAILED', 'saving failed', {
      cause: driver('42501'),
    })
    expect(storeFaultOf(error)).toBe('away')
    expect(driverFaultOf(error)).toBeUndefined()
  })
})
