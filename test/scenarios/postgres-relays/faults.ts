/** The planned faults. Each throws if it does not land: a run without its faults proves nothing. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool } from 'pg'
import type { Worker } from './processes.ts'
import { heldBy, type HeldRow, known, takenOver } from './witness.ts'

export interface Scene {
  readonly pool: Pool
  readonly schema: string
  readonly claimMs: number
}

export interface Kill {
  readonly relay: string
  readonly at: number
  readonly held: readonly HeldRow[]
}

export interface Stop {
  readonly relay: string
  readonly held: readonly HeldRow[]
  readonly stoppedMs: number
  /** Its former rows that others held when it was resumed. */
  readonly heldByOthers: number
  /** Its settlements under the lost claims, after it was resumed. */
  readonly settledLate: number
}

export interface Stopped {
  readonly held: readonly HeldRow[]
  readonly at: number
}

export interface Termination {
  readonly relay: string
  /** What the terminated backend was doing. */
  readonly query: string
  readonly failed: 'claim' | 'settle'
  readonly tries: number
}

const PATIENCE_MS = 60_000
/**
 * A relay is killed or stopped only while it holds as many rows of a batch that it is working on.
 */
export const HELD = 5

async function until<Result>(
  what: string,
  withinMs: number,
  look: () => Promise<Result | undefined>,
): Promise<Result> {
  const signal = AbortSignal.timeout(withinMs)
  for (;;) {
    const result = await look()
    if (result !== undefined) return result
    if (signal.aborted) throw new Error(`invalid run: ${what} did not happen within ${withinMs} ms`)
    await sleep(5)
  }
}

/** A statement that was sent before a process was stopped still runs on the server. */
async function quiet({ pool }: Scene, relay: string): Promise<void> {
  await until(`the end of the statements of ${relay}`, PATIENCE_MS, async () => {
    const { rows } = await pool.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity where application_name = $1 and state = 'active'`,
      [relay],
    )
    return rows[0]?.n === 0 ? true : undefined
  })
}

/**
 * A process that is stopped inside a transaction keeps its row locks, and nobody gets past them
 * until it goes on.
 */
async function inTransaction({ pool }: Scene, relay: string): Promise<boolean> {
  const { rows } = await pool.query(
    `select from pg_stat_activity where application_name = $1 and state like 'idle in%' limit 1`,
    [relay],
  )
  return rows.length > 0
}

/**
 * Stops the process in the middle of a batch, between two transactions: some of it is settled, and
 * some it still holds.
 */
async function stopInBatch(scene: Scene, worker: Worker): Promise<readonly HeldRow[]> {
  return await until(
    `a moment when ${worker.name} is in the middle of a batch`,
    PATIENCE_MS,
    async () => {
      worker.signal('SIGSTOP')
      await quiet(scene, worker.name)
      const held = await heldBy(scene.pool, scene.schema, worker.name)
      const between = !(await inTransaction(scene, worker.name))
      if (between && (await known(scene.pool, scene.schema, held)) >= HELD) return held
      worker.signal('SIGCONT')
      await sleep(50 * Math.random())
      return undefined
    },
  )
}

export async function kill(scene: Scene, worker: Worker): Promise<Kill> {
  await stopInBatch(scene, worker)
  const at = Date.now()
  worker.signal('SIGKILL')
  const ended = await worker.ended
  if (ended !== 'SIGKILL')
    throw new Error(`invalid run: ${worker.name} was not killed but ended with ${ended}`)
  const held = await heldBy(scene.pool, scene.schema, worker.name)
  if (held.length < HELD)
    throw new Error(`invalid run: ${worker.name} held ${held.length} rows when it was killed`)
  return { relay: worker.name, at, held }
}

/**
 * Stops a relay in the middle of a batch. From now on the others keep back what it held, should
 * they get it.
 */
export async function stop(
  scene: Scene,
  worker: Worker,
  others: readonly Worker[],
): Promise<Stopped> {
  const held = await stopInBatch(scene, worker)
  for (const other of others) other.order({ kind: 'hold', ids: held.map(({ id }) => id) })
  return { held, at: Date.now() }
}

/**
 * Leaves a stopped relay until others have its rows, and resumes it; they may go on once it has
 * settled under its lost claims.
 */
export async function loseClaim(
  scene: Scene,
  worker: Worker,
  { held, at }: Stopped,
  others: readonly Worker[],
): Promise<Stop> {
  const patience = scene.claimMs + PATIENCE_MS
  const heldByOthers = await until(
    `the loss of the claims of ${worker.name}`,
    patience,
    async () => {
      const count = await takenOver(scene.pool, scene.schema, held, worker.name)
      return count > 0 ? count : undefined
    },
  )
  const stoppedMs = Date.now() - at
  const from = worker.reports.length
  worker.signal('SIGCONT')
  const tokens = new Map(held.map(({ position, token }) => [position, token]))
  let settledLate = 0
  await worker.told(
    (report) => {
      if (report.kind !== 'settled') return false
      settledLate += report.rows.filter(
        ({ position, token }) => tokens.get(position) === token,
      ).length
      return settledLate > 0
    },
    { withinMs: PATIENCE_MS, from },
  )
  for (const other of others) other.order({ kind: 'let go' })
  return { relay: worker.name, held, stoppedMs, heldByOthers, settledLate }
}

/**
 * Terminates a backend of the relay while a statement of it runs there, until the relay has felt
 * it.
 */
export async function terminateBackend({ pool }: Scene, worker: Worker): Promise<Termination> {
  for (let tries = 1; ; tries += 1) {
    const from = worker.reports.length
    const query = await until(
      `a statement of ${worker.name} that can be cut off`,
      PATIENCE_MS,
      async () => {
        const { rows } = await pool.query<{ query: string }>(
          `select a.query, pg_terminate_backend(a.pid) from pg_stat_activity a
         where a.application_name = $1 and a.state <> 'idle' and a.query like '%outbox%' and a.query not like 'listen%' limit 1`,
          [worker.name],
        )
        return rows[0]?.query.replaceAll(/\s+/g, ' ').trim().slice(0, 60)
      },
    )
    // Between the look and the signal the statement may have ended, and an idle connection is
    // missed by nobody.
    const felt = await worker
      .told(({ kind }) => kind === 'failed', { withinMs: 500, from })
      .catch(() => undefined)
    if (felt?.kind === 'failed') return { relay: worker.name, query, failed: felt.doing, tries }
    if (tries === 50)
      throw new Error(`invalid run: ${worker.name} felt nothing of ${tries} terminated backends`)
  }
}
