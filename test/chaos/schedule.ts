/**
 * Which fault comes when: every one once in a random order, then again, sometimes two at a time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { errorText } from './history.ts'
import { type Nemesis, type Scene, upTo } from './nemeses/nemesis.ts'

/** A fault that did not land so often is given up, and the run is invalid. */
const TRIES = 5

function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  const result = [...items]
  for (let at = result.length - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1))
    ;[result[at], result[other]] = [result[other] as Item, result[at] as Item]
  }
  return result
}

export interface Rage {
  readonly ms: number
  readonly say: (text: string) => void
  /** No fault is begun after it. */
  readonly signal: AbortSignal | undefined
}

/**
 * Injects faults for so long, and until each has landed. Returns the names of those that never did.
 */
export async function rage(
  scene: Scene,
  planned: readonly Nemesis[],
  { ms, say, signal }: Rage,
): Promise<readonly string[]> {
  const { random } = scene
  const missing = new Map(planned.map(({ name }) => [name, TRIES]))
  const late = performance.now() + ms
  let bag: Nemesis[] = []
  // A run with two builds begins with the previous one, and the other faults are for the present
  // one.
  let firstly = planned.filter(({ needs }) => needs === 'previous build')
  const hopeful = (): boolean => [...missing.values()].some((tries) => tries > 0)
  const goesOn = (): boolean => signal?.aborted !== true && (performance.now() < late || hopeful())

  async function strike(nemesis: Nemesis): Promise<void> {
    const landed = await inject(scene, nemesis, say)
    if (landed) missing.delete(nemesis.name)
    else if (missing.has(nemesis.name))
      missing.set(nemesis.name, (missing.get(nemesis.name) ?? 0) - 1)
  }

  if (planned.length === 0) await sleep(ms)
  while (planned.length > 0 && goesOn()) {
    if (bag.length === 0) {
      const over = performance.now() >= late
      bag = shuffled(over ? planned.filter(({ name }) => missing.has(name)) : planned, random)
      bag = [...firstly, ...bag.filter((nemesis) => !firstly.includes(nemesis))]
      firstly = []
    }
    const [first] = bag.splice(0, 1)
    if (first === undefined) break
    const second = random() < 0.3 ? bag.findIndex(({ touches }) => touches !== first.touches) : -1
    const together = second < 0 ? [first] : [first, ...bag.splice(second, 1)]
    await Promise.all(together.map(strike))
    await sleep(upTo(random, 500, 2500))
  }
  return [...missing.keys()]
}

async function inject(
  scene: Scene,
  nemesis: Nemesis,
  say: (text: string) => void,
): Promise<boolean> {
  const { name } = nemesis
  scene.history.note({ op: 'fault', phase: 'invoke', name, detail: '' })
  try {
    const detail = await nemesis.inject(scene)
    scene.history.note({ op: 'fault', phase: 'ok', name, detail })
    say(`${name}: ${detail}`)
    return true
  } catch (error) {
    scene.history.note({ op: 'fault', phase: 'fail', name, detail: errorText(error) })
    say(`${name} did not land: ${errorText(error)}`)
    return false
  }
}
