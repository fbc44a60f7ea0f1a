/** Two builds of Mersal over the same tables and the same broker. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Build } from '../builds.ts'
import { now, readHistory } from '../history.ts'
import type { Program } from '../programs.ts'
import { loadSource } from '../source.ts'
import { type Nemesis, pick, type Scene, upTo } from './nemesis.ts'

const STOP_MS = 15_000

function inAnyOrder<Item>(items: readonly Item[], random: () => number): readonly Item[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

async function replace(program: Program, build: Build): Promise<void> {
  program.use(build)
  await program.stop(STOP_MS)
  await program.start()
}

/** Of each build: publishes that were confirmed since then, and deliveries that were handled. */
function worked(
  { folder, programs }: Scene,
  since: number,
): Readonly<Record<Build['name'], number>> {
  const counts = { previous: 0, present: 0 }
  for (const line of readHistory(folder)) {
    if (line.t < since || line.phase !== 'ok' || (line.op !== 'publish' && line.op !== 'handle'))
      continue
    const build = programs.find(({ name }) => name === line.proc)?.buildOf(line.life)
    if (build !== undefined) counts[build] += 1
  }
  return counts
}

const versionMix: Nemesis = {
  name: 'version-mix',
  says: 'processes of the previous build run while the tables are migrated, are replaced one by one, some go back to it, and all end up with the present one',
  touches: 'process',
  on: ['postgres', 'sqlite'],
  needs: 'previous build',
  async inject(scene) {
    const { place, programs, random, builds } = scene
    const { previous, present } = builds
    if (typeof previous !== 'object') throw new Error(previous ?? 'the previous build was not made')
    // Whoever of them is started from now on meets newer tables.
    for (const program of programs)
      if (program.buildOf(program.life) === 'previous') program.use(previous.back)
    const tables = await place.migrate(await loadSource(present.source))
    const since = now()
    await sleep(upTo(random, 500, 2000))
    for (const program of inAnyOrder(programs, random)) {
      if (program.buildOf(program.life) === 'present' && random() < 0.7)
        await replace(program, previous.back)
    }
    const order = inAnyOrder(programs, random)
    for (const [index, program] of order.entries()) {
      await replace(program, present)
      await sleep(upTo(random, 0, 1000))
      if (index % 2 === 1) await replace(pick(random, order.slice(0, index + 1)), previous.back)
    }
    for (const program of programs)
      if (program.buildOf(program.life) === 'previous') await replace(program, present)
    const counts = worked(scene, since)
    const text = `${tables}; the previous build published and handled ${counts.previous}, the present one ${counts.present}`
    if (counts.previous === 0 || counts.present === 0) throw new Error(text)
    return text
  },
}

export const versionFaults: readonly Nemesis[] = [versionMix]
