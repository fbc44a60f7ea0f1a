/** `node bench/profile.ts <file.cpuprofile> ...`: where the time of a relay went, as text. */
import { readFileSync } from 'node:fs'

interface Profile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: Frame }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

interface Frame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

const MOST_LINES = 20

function nameOf({ functionName, url }: Frame): string {
  const place = url.replace(/^.*\/node_modules\//, '').replace(/^.*\//, '')
  return `${functionName === '' ? '(no name)' : functionName}${place === '' ? '' : ` ${place}`}`
}

/** Milliseconds by function, without those of what it calls. */
function selfTimes({ nodes, samples, timeDeltas }: Profile): Map<string, number> {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const times = new Map<string, number>()
  for (const [index, id] of samples.entries()) {
    const name = names.get(id) ?? ''
    times.set(name, (times.get(name) ?? 0) + (timeDeltas[index] ?? 0) / 1000)
  }
  return times
}

for (const file of process.argv.slice(2)) {
  const times = selfTimes(JSON.parse(readFileSync(file, 'utf8')) as Profile)
  const idle = times.get('(idle)') ?? 0
  times.delete('(idle)')
  const busy = [...times.values()].reduce((sum, ms) => sum + ms, 0)
  const lines = [...times].sort((a, b) => b[1] - a[1]).slice(0, MOST_LINES)
  process.stdout.write(`${file}: busy ${Math.round(busy)} ms, idle ${Math.round(idle)} ms\n`)
  for (const [name, ms] of lines)
    process.stdout.write(`${((100 * ms) / busy).toFixed(1).padStart(5)} %  ${name}\n`)
}
