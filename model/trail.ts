/** Who made a step: the two writers are 0 and 1, the relays come next. */
const STEP = /^\s*(\d+):\s+proc\s+(\d+) \((\w+):/
/** Variables of one step (`i`, `j`) are left out. */
const VALUE = /^\s+(\w\w[\w[\]]*) = (\d+)$/

/**
 * One line for each step of a counterexample, as Spin replays it: who made it, and what it changed.
 * Sets are shown as bits.
 */
export function readable(replay: string): string {
  const lines: string[] = []
  const before = new Map<string, string>()
  let step = ''
  let now = new Map<string, string>()
  const flush = (): void => {
    const changes = [...now]
      .filter(([name, value]) => value !== (before.get(name) ?? '0'))
      .map(([name, value]) => `${name} = ${value}`)
    if (step !== '') lines.push(`  ${step}: ${changes.join(', ')}`)
    for (const [name, value] of now) before.set(name, value)
    now = new Map()
  }
  for (const line of replay.split('\n')) {
    const [, number, process, kind] = STEP.exec(line) ?? []
    if (number !== undefined && line.includes('valid end state')) break
    if (number !== undefined && step !== `${number} ${kind} ${process}`) {
      flush()
      step = `${number} ${kind} ${process}`
    }
    const [, name, value] = VALUE.exec(line) ?? []
    if (name !== undefined && value !== undefined)
      now.set(name, Number(value) > 1 ? `0b${Number(value).toString(2)}` : value)
  }
  flush()
  return lines.join('\n')
}
