/**
 * A small form of `npm run chaos`: one seed and a few faults for each store, and the plans that
 * once failed.
 */
import { describe, expect, test } from 'vitest'
import { brokerProblem } from '../../scripts/servers/rabbitmq.ts'
import { natsIsHere } from '../nats/server.ts'
import { clusterAvailable } from '../postgres/cluster.ts'
import { previousBuild } from './builds.ts'
import { errorText } from './history.ts'
import { mariadbProblem } from '../../scripts/servers/mariadb.ts'
import { isPresent } from '../../scripts/servers/present.ts'
import { openDisk } from './places/disk.ts'
import plansThatFailed from './plans-that-failed.json' with { type: 'json' }
import { run, type Settings } from './run.ts'

type Small = Pick<Settings, 'store' | 'seed' | 'nemeses' | 'commitLog'>

async function small(settings: Small): Promise<void> {
  const { verdict, reasons, findings, kept } = await run({ seconds: 3, least: 0, ...settings })
  const violations = findings.filter(({ count }) => count > 0)
  expect({ verdict, reasons, violations, kept }).toMatchObject({
    verdict: 'green',
    reasons: [],
    violations: [],
  })
}

/**
 * Whether this can be had here; if not, says what is left out, or fails where nothing may be
 * missing.
 */
async function available(what: string, open: () => Promise<AsyncDisposable>): Promise<boolean> {
  try {
    await (await open())[Symbol.asyncDispose]()
    return true
  } catch (error) {
    if (process.env['CI'] === 'true')
      throw new Error(`${what} cannot be had here`, { cause: error })
    process.stderr.write(`\n*** ${what} ARE SKIPPED: ${errorText(error)} ***\n`)
    return false
  }
}

const present = clusterAvailable() && isPresent(brokerProblem())

const mariadb = isPresent(mariadbProblem())
const nats = natsIsHere()
const disks = await available('THE PLANS WITH FULL DISKS', () => openDisk('try', 1))
const builds = await available('TWO BUILDS IN ONE RUN', previousBuild)

// One after the other: each has six processes and servers of its own, which have to stop in time.
describe('under faults, no promise is broken', () => {
  test('by processes on SQLite', { timeout: 240_000 }, () =>
    small({ store: 'sqlite', seed: 3, nemeses: ['crash', 'kill', 'pause'] }),
  )

  test.skipIf(!mariadb)('by processes and by the server on MariaDB', { timeout: 240_000 }, () =>
    small({ store: 'mysql', seed: 5, nemeses: ['crash', 'pause', 'database-crash', 'terminate'] }),
  )

  test.skipIf(!present)('by processes on PostgreSQL and RabbitMQ', { timeout: 600_000 }, () =>
    small({
      store: 'postgres',
      seed: 4,
      nemeses: [
        ...(builds ? ['version-mix'] : []),
        'crash',
        'terminate',
        'reset',
        'database-crash',
      ],
    }),
  )

  test.skipIf(!present)(
    'by the log of PostgreSQL and by processes, with relays that read it',
    { timeout: 600_000 },
    () =>
      small({
        store: 'postgres',
        seed: 7,
        commitLog: true,
        nemeses: ['log-cut', 'slot-lost', 'log-behind', 'crash'],
      }),
  )

  test.skipIf(!clusterAvailable() || !nats)(
    'by processes and by the broker on PostgreSQL and NATS',
    { timeout: 240_000 },
    () => small({ store: 'nats', seed: 6, nemeses: ['crash', 'broker-crash'] }),
  )

  for (const { store, seed, nemeses, found } of plansThatFailed) {
    test.skipIf(!disks || (store === 'postgres' && !present))(
      `with the plan of ${store} that once failed: ${found}`,
      { timeout: 600_000 },
      () => small({ store: store === 'postgres' ? store : 'sqlite', seed, nemeses }),
    )
  }
})
