/**
 * Loaded before a program that is to die: `node --import trap.js program.js`. It watches the
 * clients of the database and of the broker, so that the code of Mersal is the same as ever, and
 * kills the process at the n-th coming of a moment. What it was is written down before.
 */
import type { RelayKind } from '../plan.ts'

interface Watched {
  readonly kind: Pick<RelayKind, 'broker'> & { readonly database: RelayKind['database'] | 'sqlite' }
}

const { kind } = JSON.parse(process.env['CRASH_MATRIX_PLAN'] ?? '') as Watched
if (kind.database === 'sqlite') (await import('./sqlite.ts')).watchDatabase()
else {
  if (kind.database === 'mysql') (await import('./mysql.ts')).watchDatabase()
  else (await import('./postgres.ts')).watchDatabase()
  if (kind.broker === 'nats') (await import('./nats.ts')).watchNats()
  else if (kind.broker === 'redis') (await import('./redis.ts')).watchRedis()
  else if (kind.broker === 'kafka') (await import('./kafka.ts')).watchKafka()
  else (await import('./broker.ts')).watchBroker()
}
