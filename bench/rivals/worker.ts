/** One process of a comparison: `node worker.ts PLAN`, as JSON, with a channel to who started it. */
import { Pool, type PoolClient } from 'pg'
import { onCommit, type Statements } from './candidate.ts'
import { libraryOf } from './libraries.ts'
import { type Body, ORDERED, POISON, STUMBLE, type WorkerPlan } from './plan.ts'

const plan = JSON.parse(process.argv[2] ?? '') as WorkerPlan
/** Whether the next COMMIT is the one at which the process dies. */
let armed = false

function watch(client: PoolClient): void {
  onCommit(client, () => {
    if (armed) process.kill(process.pid, 'SIGKILL')
  })
}

/** Beside every transaction of a library. */
const notes = new Pool({ connectionString: plan.servers.database, max: 2 })

/** Whether the message fails this time: one of each key does once. */
async function stumbles({ line, n }: Body): Promise<boolean> {
  if (!ORDERED.includes(line) || n !== STUMBLE) return false
  const { rowCount } = await notes.query(
    'insert into stumbled (line) values ($1) on conflict do nothing',
    [line],
  )
  return rowCount === 1
}

async function handle(tx: Statements, body: Body): Promise<void> {
  const { line, n } = body
  if (line === POISON && n === 1) throw new Error('poison')
  if (await stumbles(body)) throw new Error('the first delivery fails')
  await tx.query('insert into effect (line, n) values ($1, $2)', [line, n])
}

async function row(tx: Statements, { line, n }: Body): Promise<void> {
  await tx.query('insert into business (line, n) values ($1, $2)', [line, n])
  if (plan.trap === 'commit') armed = true
}

async function written(write: Promise<void>): Promise<'ok' | 'failed' | 'late'> {
  const { promise: late, resolve } = Promise.withResolvers<'late'>()
  const timer = setTimeout(() => resolve('late'), plan.patienceMs)
  try {
    return await Promise.race([
      write.then(
        () => 'ok' as const,
        () => 'failed' as const,
      ),
      late,
    ])
  } finally {
    clearTimeout(timer)
  }
}

process.on('disconnect', () => process.exit(1))
const library = await libraryOf(plan.candidate)
const opened = await library.open({ ...plan.servers, order: plan.order, watch, row })
if (plan.role === 'consumer') await opened.consume(handle)
process.send?.({ kind: 'ready' })
for (const body of plan.bodies) {
  process.send?.({ kind: 'written', body, how: await written(opened.write(body)) })
}
if (plan.role === 'sender') process.send?.({ kind: 'done' })
