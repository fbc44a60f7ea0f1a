/**
 * Wrong clocks. Timers and the monotonic clock stay right; what the time of day says must not
 * matter.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findLibfaketime, noLibfaketime, onlyTheWall } from '../../../scripts/servers/faketime.ts'
import { historyFile, linesOf, now } from '../history.ts'
import { serverKinds } from '../plan.ts'
import type { Program } from '../programs.ts'
import { type Nemesis, pick, type Scene, upTo } from './nemesis.ts'

/** On SQLite the clocks of the processes are one with that of the database. */
const on = serverKinds
const PATIENCE_MS = 10_000
const STOP_MS = 15_000

function libfaketime(): string {
  const found = findLibfaketime()
  if (found === undefined) throw new Error(noLibfaketime)
  return found
}

/** Half of the time a relay. */
function someone({ programs, random }: Scene): Program {
  return pick(random, random() < 0.5 ? programs.filter(({ role }) => role === 'relay') : programs)
}

async function restart(program: Program, environment: NodeJS.ProcessEnv): Promise<void> {
  await program.stop(STOP_MS)
  program.within(environment)
  await program.start()
  program.within({})
}

/**
 * A relay dies with messages in its hands: what it held must come free as if its clock had been
 * right.
 */
async function ends(program: Program): Promise<void> {
  const dies = program.role === 'relay' && (await program.reaches('R5', 'kill', PATIENCE_MS))
  if (!dies) await program.stop(STOP_MS)
  await program.start()
}

const skew: Nemesis = {
  name: 'skew',
  says: 'a process whose wall clock is an hour or ten years off, and which dies with messages in its hands if it is a relay',
  touches: 'process',
  on,
  async inject(scene) {
    const { random } = scene
    const library = libfaketime()
    const program = someone(scene)
    const by = pick(random, ['-1h', '+1h', '+10y'])
    await restart(program, { LD_PRELOAD: library, FAKETIME: by, ...onlyTheWall })
    const [ready] = program.reports
    const off = ready?.kind === 'ready' ? ready.wall - Date.now() : 0
    await sleep(upTo(random, 2000, 4000))
    await ends(program)
    if (Math.abs(off) < 3_000_000)
      throw new Error(`the clock of ${program.name} was only ${off} ms off`)
    return `${program.name} ${by}`
  },
}

/**
 * The greatest difference between a process and the harness, of its samples since then, in
 * milliseconds.
 */
function farthest({ folder }: Scene, { name, life }: Program, since: number): number {
  const right = Date.now() - now()
  const offs = linesOf(historyFile(folder, name)).flatMap((line) =>
    line.op === 'rss' && line.life === life && line.t > since
      ? [Math.abs(line.wall - (right + line.t))]
      : [],
  )
  return Math.max(0, ...offs)
}

const jump: Nemesis = {
  name: 'clock-jump',
  says: 'the wall clock of a running process jumps forwards and backwards by up to a day; a relay dies with messages in its hands after it',
  touches: 'process',
  on,
  async inject(scene) {
    const { folder, random } = scene
    const library = libfaketime()
    const program = someone(scene)
    const control = join(folder, `${program.name}.clock`)
    writeFileSync(control, '+0')
    await restart(program, {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: control,
      FAKETIME_NO_CACHE: '1',
      ...onlyTheWall,
    })
    const since = now()
    await sleep(upTo(random, 500, 1500))
    const jumps = ['+1h', '-1h', '+1d', '-1d', '+90s', '-90s']
      .sort(() => random() - 0.5)
      .slice(0, 3)
    for (const by of jumps) {
      writeFileSync(control, by)
      await sleep(upTo(random, 1200, 2500))
    }
    const off = farthest(scene, program, since)
    await ends(program)
    if (off < 80_000)
      throw new Error(`the clock of ${program.name} was at most ${Math.round(off)} ms off`)
    return `${program.name} ${jumps.join(', ')}`
  },
}

export const clockFaults: readonly Nemesis[] = [skew, jump]
