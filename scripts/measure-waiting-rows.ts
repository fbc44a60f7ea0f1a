import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Pool } from 'pg'
import { silentLogger } from '../src/core/telemetry.ts'
import { uuidv7 } from '../src/lib/uuid.ts'
import { createRelay } from '../src/outbox/relay.ts'
import { relaySettings } from '../src/outbox/options.ts'
import { postgres } from '../src/postgres.ts'
import { confirming, environment, percentile } from './measuring.ts'

// How long a message waits, and what PostgreSQL and the relay need, while very many rows wait that
// cannot go. node scripts/measure-waiting-rows.ts --shapes dead,delayed,key,pause --rows
// 300000,1500000,3000000 --seconds 20

const { values } = parseArgs({
  options: {
    shapes: { type: 'string', default: 'dead,delayed,key,pause' },
    rows: { type: 'string', default: '300000,1500000,3000000' },
    seconds: { type: 'string', default: '20' },
    url: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432/test' },
  },
})
const seconds = Number(values.seconds)
const schema = `measure_${randomUUID().slice(0, 8)}`
const pool = new Pool({ connectionString: values.url, max: 6, application_name: schema })

type Shape = 'dead' | 'delayed' | 'key' | 'pause'

/** Key, time and death of row `i`: of ten rows of a key the first one holds back the others. */
const shapes: Readonly<
  Record<
    Shape,
    {
      readonly key: string
      readonly holdsBack: string
      readonly dead: boolean
      readonly name: string
    }
  >
> = {
  dead: { key: `'k' || (i / 10)`, holdsBack: 'i % 10 = 0', dead: true, name: 'waiting' },
  delayed: { key: `'k' || (i / 10)`, holdsBack: 'i % 10 = 0', dead: false, name: 'waiting' },
  key: { key: `'k'`, holdsBack: 'i = 0', dead: true, name: 'waiting' },
  pause: { key: 'null::text', holdsBack: 'false', dead: false, name: 'paused' },
}

async function fill(shape: Shape, from: number, to: number): Promise<void> {
  const { key, holdsBack, dead, name } = shapes[shape]
  await pool.query(`insert into ${schema}.outbox (id, key, visible_at, died_at, dead_reason, type, transport, kind, name, headers, body)
    select gen_random_uuid(), ${key}, case when ${holdsBack} then ${dead ? `'infinity'` : `now() + interval '1 hour'`} else now() end,
      ${dead ? `case when ${holdsBack} then now() end, case when ${holdsBack} then 'refused' end` : 'null, null'},
      't', 'default', 'queue', '${name}', '{}', 'x' from generate_series(${from}::bigint, ${to - 1}) i`)
  await pool.query(`vacuum analyze ${schema}.outbox`)
}

/** Ticks of a hundredth of a second that the server's processes of this program have used. */
async function serverTicks(): Promise<number> {
  const { rows } = await pool.query<{ pid: number }>(
    `select pid from pg_stat_activity where application_name = $1`,
    [schema],
  )
  return rows.reduce((sum, { pid }) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return sum + Number(fields[11]) + Number(fields[12])
  }, 0)
}

async function measure(shape: Shape, rows: number): Promise<void> {
  await using store = postgres({ pool, schema, logger: silentLogger })
  await store.open()
  const sentAt = new Map<string, number>()
  const waits: number[] = []
  const transport = confirming('none', async ({ id }) => {
    await Promise.resolve()
    const at = sentAt.get(id)
    if (at !== undefined) waits.push(performance.now() - at)
  })
  const claims: number[] = []
  const claim: typeof store.outbox.claim = async (request) => {
    const begun = performance.now()
    try {
      return await store.outbox.claim(request)
    } finally {
      claims.push(performance.now() - begun)
    }
  }
  const relay = createRelay({
    environment,
    storage: { claim, settle: (list) => store.outbox.settle(list) },
    transports: new Map([['default', transport]]),
    wakers: store.wakers,
    pauses: store.operations?.pauses,
    settings: relaySettings(),
  })
  const to = { transport: 'default', kind: 'queue', name: 'other' } as const
  relay.start()
  await sleep(3000)
  claims.length = 0
  const ticks = await serverTicks()
  let memory = 0
  const begun = performance.now()
  let sent = 0
  for (; performance.now() - begun < seconds * 1000; sent++) {
    const id = uuidv7(Date.now())
    await store.unitOfWork((tx) =>
      store.outbox.save(tx, [{ id, type: 't', headers: {}, body: new Uint8Array(1), to }]),
    )
    sentAt.set(id, performance.now())
    memory = Math.max(memory, process.memoryUsage().rss)
    await sleep(200)
  }
  const used = ((await serverTicks()) - ticks) / 100 / ((performance.now() - begun) / 1000)
  await sleep(1000)
  await relay.stop()
  const sorted = waits.toSorted((a, b) => a - b)
  const longest = Math.max(...claims)
  const ms = (value: number): string => value.toFixed(1).padStart(8)
  process.stdout.write(
    `${shape.padEnd(8)} ${String(rows).padStart(8)} rows: ${waits.length} of ${sent}, p50 ${ms(percentile(sorted, 0.5))} ms, p99 ${ms(percentile(sorted, 0.99))} ms, ` +
      `server CPU ${used.toFixed(3)} s/s, memory at most ${Math.round(memory / 1e6)} MB, ${claims.length} claims, longest ${ms(longest)} ms\n`,
  )
}

for (const shape of values.shapes.split(',') as Shape[]) {
  await pool.query(`create schema ${schema}`)
  await using store = postgres({ pool, schema, logger: silentLogger })
  await store.open()
  await pool.query(`alter table ${schema}.outbox set unlogged`)
  if (shape === 'pause')
    await pool.query(
      `insert into ${schema}.pause (kind, name) values ('destination', 'default/queue/paused')`,
    )
  let there = 0
  for (const rows of values.rows.split(',').map(Number)) {
    await fill(shape, there, rows)
    there = rows
    await measure(shape, rows)
  }
  await pool.query(`drop schema ${schema} cascade`)
}
await pool.end()
