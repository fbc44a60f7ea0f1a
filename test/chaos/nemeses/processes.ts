/** Faults of processes. */
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CrashPoint } from '../../../src/testing/crash-points.ts'
import { isLogToken } from '../../../src/core/commit-log.ts'
import { historyFile, linesOf, now } from '../history.ts'
import { CLAIM_MS, type Role, serverKinds, storeKinds } from '../plan.ts'
import type { Program } from '../programs.ts'
import { type Nemesis, pick, type Scene, upTo } from './nemesis.ts'

const everywhere = storeKinds
const PATIENCE_MS = 10_000
const STOP_MS = 15_000
/** Longest time until a relay has messages in its hands. */
const BUSY_MS = 2000

/** Whoever relays passes the points of a relay. */
const points: Readonly<Record<Role, readonly CrashPoint[]>> = {
  producer: ['P1', 'P2', 'P3', 'P4', 'P5', 'P6'],
  relay: ['R1', 'R2', 'R3', 'R4', 'R5', 'R6', 'R7', 'R8', 'R9'],
  consumer: ['C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C7', 'C8'],
}

const kill: Nemesis = {
  name: 'kill',
  says: 'SIGKILL to a process at any moment; it is started again after a while',
  touches: 'process',
  on: everywhere,
  async inject({ programs, random }) {
    const program = pick(random, programs)
    await killNow(program)
    await sleep(upTo(random, 0, 1500))
    await program.start()
    return program.name
  },
}

async function killNow(program: Program): Promise<void> {
  program.signal('SIGKILL')
  const how = await program.ended
  if (how !== 'SIGKILL') throw new Error(`${program.name} was not killed: ${how}`)
}

const crash: Nemesis = {
  name: 'crash',
  says: 'SIGKILL at a named point between two actions',
  touches: 'process',
  on: everywhere,
  async inject({ programs, random }) {
    const program = pick(random, programs)
    const point = pick(random, points[program.role])
    if (!(await program.reaches(point, 'kill', PATIENCE_MS)))
      throw new Error(`${program.name} did not reach ${point}`)
    await program.start()
    return `${program.name} at ${point}`
  },
}

const term: Nemesis = {
  name: 'term',
  says: 'SIGTERM to a process, which has to stop in good order',
  touches: 'process',
  on: everywhere,
  async inject(scene) {
    const program = pick(scene.random, scene.programs)
    const busy = program.role === 'relay' && (await program.reaches('R3', 'stop', BUSY_MS))
    const ended = program.stop(STOP_MS)
    if (busy) program.signal('SIGCONT')
    const how = await ended
    const held = how === 'exit 0' ? await stillHeld(scene, program) : 0
    await program.start()
    return `${program.name}${busy ? ' with messages in its hands' : ''}: ${how}, ${held} rows still held`
  },
}

/** Rows under claims that a process took in its present life. */
async function stillHeld({ folder, place }: Scene, { name, life }: Program): Promise<number> {
  if (!existsSync(historyFile(folder, name))) return 0
  const tokens = linesOf(historyFile(folder, name)).flatMap((line) => {
    if (
      line.proc !== name ||
      line.life !== life ||
      (line.op !== 'claim' && line.op !== 'save') ||
      line.phase !== 'ok'
    )
      return []
    // Rows that it has written for the log are in the hands of whoever reads it.
    return line.rows.map(([, , token]) => token).filter((token) => !isLogToken(token))
  })
  return await place.heldBy([...new Set(tokens)])
}

const pause: Nemesis = {
  name: 'pause',
  says: 'a relay stops with messages in its hands (SIGSTOP), until its claims are over, and goes on (SIGCONT)',
  touches: 'process',
  on: everywhere,
  async inject({ programs, random }) {
    const program = pick(
      random,
      programs.filter(({ role }) => role === 'relay'),
    )
    const point = pick(random, ['R3', 'R5', 'R7'] as const)
    if (!(await program.reaches(point, 'stop', PATIENCE_MS)))
      throw new Error(`${program.name} did not reach ${point}`)
    await sleep(CLAIM_MS * upTo(random, 1.2, 1.6))
    program.signal('SIGCONT')
    return `${program.name} at ${point}`
  },
}

/** Positions that a process claimed, or heard of by the log, in this time. */
function claimed(path: string, from: number, to: number): ReadonlySet<string> {
  const lines = linesOf(path).filter(
    (line) =>
      line.t >= from &&
      line.t <= to &&
      (line.op === 'claim' || line.op === 'told') &&
      line.phase === 'ok',
  )
  return new Set(
    lines.flatMap((line) => ('rows' in line ? line.rows.map(([, position]) => position) : [])),
  )
}

interface Theft {
  readonly former: Program
  readonly latter: Program
  readonly rivals: readonly Program[]
  readonly folder: string
}

/**
 * What the latter may get first: rows of writers that stand still, whose grace is shorter than a
 * claim.
 */
const MOST_OTHER_BATCHES = 5

/**
 * Stops the former at R7 and the latter once it has come by rows of it; meanwhile nobody else may
 * be quicker. Returns how many.
 */
async function steal({ former, latter, rivals, folder }: Theft): Promise<number> {
  const from = now() - 2 * CLAIM_MS
  if (!(await former.reaches('R7', 'stop', PATIENCE_MS)))
    throw new Error(`${former.name} did not reach R7`)
  const lost = now()
  const before = claimed(historyFile(folder, former.name), from, lost)
  for (const rival of rivals) rival.signal('SIGSTOP')
  await sleep(CLAIM_MS - 700)
  let both = 0
  for (let batch = 0; both === 0 && batch < MOST_OTHER_BATCHES; batch++) {
    if (batch > 0) latter.signal('SIGCONT')
    if (!(await latter.reaches('R5', 'stop', PATIENCE_MS)))
      throw new Error(`${latter.name} did not reach R5`)
    both = [...claimed(historyFile(folder, latter.name), lost, now())].filter((position) =>
      before.has(position),
    ).length
  }
  former.signal('SIGCONT')
  await sleep(700)
  if (both === 0) throw new Error(`${latter.name} took nothing that ${former.name} had held`)
  return both
}

const stolen: Nemesis = {
  name: 'stolen',
  says: 'a relay stops until another one has its rows, and goes on while that one holds them',
  touches: 'process',
  on: serverKinds,
  async inject({ programs, random, folder }) {
    const relays = programs.filter(({ role }) => role === 'relay')
    const former = pick(random, relays)
    const latter = pick(
      random,
      relays.filter((relay) => relay !== former),
    )
    const rivals = programs.filter(({ role }) => role !== 'relay')
    try {
      const both = await steal({ former, latter, rivals, folder })
      return `${both} rows of ${former.name} by ${latter.name}`
    } finally {
      for (const program of programs) program.signal('SIGCONT')
    }
  },
}

const hang: Nemesis = {
  name: 'hang',
  says: 'a consumer stops in the middle of its work (SIGSTOP) until the broker gives it up, and goes on',
  touches: 'process',
  on: everywhere,
  async inject({ programs, random }) {
    const program = pick(
      random,
      programs.filter(({ role }) => role === 'consumer'),
    )
    const point = pick(random, ['C3', 'C4', 'C7'] as const)
    if (!(await program.reaches(point, 'stop', PATIENCE_MS)))
      throw new Error(`${program.name} did not reach ${point}`)
    // More than three heartbeats of two seconds, and more than the hold on a message of the SQLite
    // queue.
    await sleep(upTo(random, 6500, 8000))
    program.signal('SIGCONT')
    return `${program.name} at ${point}`
  },
}

export const processFaults: readonly Nemesis[] = [kill, crash, term, pause, stolen, hang]
