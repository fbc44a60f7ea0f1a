import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { appOf, path } from '../paths/mersal.ts'
import type { OpenPath, Scene } from '../paths/path.ts'
import { debeziumClasses } from './jars.ts'

const SLOT = 'bench_debezium'
const READY = `select from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid
  where s.slot_name = '${SLOT}' and r.state = 'streaming'`

/**
 * Mersal writes the outbox, and Debezium publishes from the log what was inserted. Nobody deletes
 * the rows. `pollMs`: how long Debezium waits for a batch to become full.
 */
export const debezium =
  (pollMs: number): OpenPath =>
  async (scene) => {
    await using stack = new AsyncDisposableStack()
    const pool = stack.adopt(
      new Pool({ connectionString: scene.postgres.url, max: scene.connections }),
      (opened) => opened.end(),
    )
    await pool.query('truncate bench.outbox, bench.business')
    const way = { express: false }
    const app = stack.use(appOf(scene, way, pool))
    await app.start()
    const pid = await startDebezium(scene, pool, pollMs, stack)
    const opened = stack.move()
    return {
      ...path(app, scene, way),
      relay: { pid },
      leftOver: async () => [],
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    }
  }

function propertiesOf({ postgres }: Scene, folder: string, pollMs: number): string {
  const { hostname, port, username, pathname } = new URL(postgres.url)
  const router = 'transforms.outbox'
  const properties = {
    name: 'bench',
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'offset.storage': 'org.apache.kafka.connect.storage.FileOffsetBackingStore',
    'offset.storage.file.filename': join(folder, 'offsets'),
    'offset.flush.interval.ms': 1000,
    'database.hostname': hostname,
    'database.port': port,
    'database.user': username,
    'database.password': 'none',
    'database.dbname': pathname.slice(1),
    'topic.prefix': 'bench',
    'plugin.name': 'pgoutput',
    'slot.name': SLOT,
    'slot.drop.on.stop': true,
    'publication.name': SLOT,
    'publication.autocreate.mode': 'filtered',
    'table.include.list': 'bench.outbox',
    'snapshot.mode': 'no_data',
    'skipped.operations': 'u,d,t',
    'tombstones.on.delete': false,
    'poll.interval.ms': pollMs,
    transforms: 'outbox',
    [`${router}.type`]: 'io.debezium.transforms.outbox.EventRouter',
    [`${router}.table.field.event.id`]: 'id',
    [`${router}.table.field.event.key`]: 'key',
    [`${router}.table.field.event.payload`]: 'body',
    [`${router}.route.by.field`]: 'name',
    [`${router}.route.topic.replacement`]: '${routedByValue}',
  }
  return Object.entries(properties)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}

/** Resolves to the process when it reads the log. */
async function startDebezium(
  scene: Scene,
  pool: Pool,
  pollMs: number,
  stack: AsyncDisposableStack,
): Promise<number> {
  const classes = await debeziumClasses()
  const folder = mkdtempSync(join(tmpdir(), 'mersal-debezium-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'engine.properties')
  writeFileSync(file, propertiesOf(scene, folder, pollMs))
  // A path of one slash would be a virtual host without a name.
  const rabbit = scene.rabbit.url.replace(/\/$/, '')
  const child = spawn('java', ['-cp', classes, 'Relay', file, rabbit], {
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said = `${said}${chunk.toString()}`.slice(-3000)))
  const ended = once(child, 'exit')
  stack.defer(async () => {
    child.stdin.end()
    const late = setTimeout(() => child.kill('SIGKILL'), 15_000)
    await ended
    clearTimeout(late)
    await pool.query(
      `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '${SLOT}'`,
    )
  })
  for (const late = performance.now() + 120_000; performance.now() < late; await sleep(50)) {
    if (child.exitCode !== null) throw new Error(`Debezium has ended: ${said}`)
    if ((await pool.query(READY)).rowCount === 1) return child.pid as number
  }
  throw new Error(`Debezium does not read the log: ${said}`)
}
