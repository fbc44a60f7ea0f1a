import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Arm, Failure, LifePlan, Look, Trouble } from '../plan.ts'
import { type Life, startLife } from './life.ts'
import type { ScratchMaker } from './scratch.ts'
import { type Finding, verdict } from './verdict.ts'

/** What every trial of a run has in common. */
export interface Ground {
  /** `mersal.prove.ts`. */
  readonly file: string
  readonly cwd: string
  readonly places: ScratchMaker
  readonly brokerUrl: string | undefined
  /** How long a program may take until everything is handled, in milliseconds. */
  readonly waitMs: number
  readonly signal: AbortSignal
}

export interface Trial {
  readonly arm?: Arm
  /** Where the process that comes after the first death dies. */
  readonly again?: Arm
  readonly trouble?: Trouble
}

export interface Outcome {
  /** Whether it was killed at the point, or got into the trouble. */
  readonly happened: boolean
  readonly findings: readonly Finding[]
  readonly ordered: boolean
  /** How often each point was reached. */
  readonly reached: ReadonlyMap<string, number>
  readonly seconds: number
}

const POLL_MS = 100
/** So long nothing may change before a message counts as lost. */
const CALM_MS = 5000

/** One program in a place of its own: its life, its death at the point, and its life after that. */
export async function runTrial(ground: Ground, trial: Trial): Promise<Outcome> {
  const began = performance.now()
  await using place = await ground.places.make()
  const log = join(place.folder, 'points.log')
  const { folder, databaseUrl } = place
  const base = { file: ground.file, folder, databaseUrl, brokerUrl: ground.brokerUrl, log }
  const lives: Lived[] = []
  for (const arm of armsOf(trial)) {
    const { trouble } = trial
    const plan: LifePlan = { ...base, role: 'run', ...arm, ...(trouble && { trouble }) }
    lives.push(await lived(ground, plan))
    await place.settled()
    if (lives.at(-1)?.look !== undefined) break
  }
  const left = await lookFromOutside(ground, base)
  const reached = reachedIn(log)
  const { acting, look } = lives.at(-1) ?? nobody
  const { waiting, dead } = look ?? { waiting: 0, dead: 0 }
  const failures = lives.flatMap((life) => life.failures)
  const trouble = isTroubled(trial, reached) ? trial.trouble : undefined
  const remains = { ...left, waiting, dead, ...acting, failures, trouble }
  return {
    happened: lives.length === armsOf(trial).length && trouble === trial.trouble,
    findings: verdict(remains),
    ordered: acting.keys.length > 0,
    reached,
    seconds: (performance.now() - began) / 1000,
  }
}

const isTroubled = ({ trouble }: Trial, reached: ReadonlyMap<string, number>): boolean =>
  trouble === undefined || reached.has('trouble')

function reachedIn(log: string): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n') : []
  for (const line of lines) if (line !== '') counts.set(line, (counts.get(line) ?? 0) + 1)
  return counts
}

interface Lived {
  /** The last look; undefined: it was killed at its point. */
  readonly look: Look | undefined
  readonly failures: readonly Failure[]
  readonly acting: { readonly actions: number; readonly keys: readonly string[] }
}

const nobody: Lived = { look: undefined, failures: [], acting: { actions: 0, keys: [] } }

/** For each life, where it dies; the last one lives until everything is handled. */
function armsOf({ arm, again }: Trial): readonly { readonly arm?: Arm }[] {
  const arms = [arm, again].filter((one) => one !== undefined)
  return [...arms.map((one) => ({ arm: one })), {}]
}

/** Lets a process live until it is killed, or everything has come to rest. */
async function lived(ground: Ground, plan: LifePlan): Promise<Lived> {
  await using life = startLife(plan, ground.cwd)
  const stop = (): void => life.kill()
  ground.signal.addEventListener('abort', stop, { once: true })
  try {
    const acting = (await life.acting) ?? { actions: 0, keys: [] }
    const done = await life.done
    ground.signal.throwIfAborted()
    const look = done === undefined ? undefined : await atRest(life, plan, ground)
    ground.signal.throwIfAborted()
    return { look, failures: done?.failures ?? [], acting }
  } finally {
    ground.signal.removeEventListener('abort', stop)
  }
}

/** Undefined: it has died. */
async function atRest(life: Life, plan: LifePlan, { waitMs }: Ground): Promise<Look | undefined> {
  const began = performance.now()
  let before = ''
  let since = began
  for (;;) {
    const look = await life.look()
    if (look === undefined) return undefined
    const now = performance.now()
    const text = JSON.stringify(look)
    if (text !== before) since = now
    before = text
    const calm = now - since
    if (isComplete(look, plan) ? calm >= 3 * POLL_MS : look.waiting === 0 && calm >= CALM_MS)
      return look
    if (now - began > waitMs) return look
    await sleep(POLL_MS)
  }
}

/** Whether nothing more is to come. */
function isComplete({ rows, effects, waiting }: Look, { trouble, arm }: LifePlan): boolean {
  const handled = new Set(effects)
  const open = new Set(rows.filter((n) => !handled.has(n)))
  if (trouble === 'poison') return open.size <= 1
  // A point of the end of a message, or of an idle relay, may come a little later.
  return open.size === 0 && waiting === 0 && (arm === undefined || handled.size > 0)
}

async function lookFromOutside(
  ground: Ground,
  base: Omit<LifePlan, 'role'>,
): Promise<Pick<Look, 'rows' | 'effects'>> {
  await using life = startLife({ ...base, role: 'look' }, ground.cwd)
  const look = await life.told
  if (look === undefined) throw new Error('the process that looks was killed')
  return look
}
