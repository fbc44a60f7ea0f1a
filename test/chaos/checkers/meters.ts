/** Whether what the processes say about themselves is what the history says about them. */
import { isLogToken } from '../../../src/core/commit-log.ts'
import type { Line } from '../history.ts'
import type { Readings } from '../meters.ts'
import type { Evidence } from './evidence.ts'
import { lifeOf, settlementsIn } from './evidence.ts'
import type { Checker } from './finding.ts'

type Counts = Map<string, Map<string, number>>

function count(counts: Counts, life: string, name: string, by: number): void {
  const own = counts.get(life) ?? new Map<string, number>()
  counts.set(life, own.set(name, (own.get(name) ?? 0) + by))
}

function counted(line: Line): readonly [name: string, by: number] | undefined {
  if (line.op === 'publish' && line.phase !== 'invoke') return [`published ${line.kind}`, 1]
  if (line.op === 'claim' && line.phase === 'ok') return ['claimed', line.rows.length]
  if (line.op === 'handle' && line.phase === 'ok')
    return [line.disposition === 'release' ? 'given back' : 'delivered', 1]
  return undefined
}

/** The same names as the readings have. */
function history({ lines }: Evidence): Counts {
  const counts: Counts = new Map()
  for (const line of lines) {
    const found = counted(line)
    if (found !== undefined) count(counts, lifeOf(line), ...found)
  }
  const answered = new Set<string>()
  for (const { life, rows, outcome, stale } of settlementsIn(lines)) {
    if (outcome !== 'ok' && outcome !== 'stale') continue
    const names = rows.map((row) => `${life} ${row.join(' ')}`)
    const repeated =
      rows.every(([, , token]) => isLogToken(token)) && names.every((name) => answered.has(name))
    for (const name of names) answered.add(name)
    // What the log told too early is settled again. What that has changed did not come too late.
    count(counts, life, 'settled', repeated ? 0 : rows.length)
    count(counts, life, 'settled too late', repeated ? stale - rows.length : stale)
  }
  for (const [, own] of counts)
    own.set('settled', (own.get('settled') ?? 0) - (own.get('settled too late') ?? 0))
  return counts
}

/** Names whose readings the history knows as well. */
const compared = ['claimed', 'settled', 'settled too late', 'delivered']

/**
 * The history with the names of the process. A build that does not count apart what it gives back
 * counts it as delivered.
 */
function asCounted(
  readings: Readings,
  own: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  if ('given back' in readings) return own
  const delivered = (own.get('delivered') ?? 0) + (own.get('given back') ?? 0)
  return new Map([...own, ['delivered', delivered]])
}

/** What does not fit, as text. */
function wrong(readings: Readings, history: ReadonlyMap<string, number>): string[] {
  const own = asCounted(readings, history)
  const happened = (name: string): number => own.get(name) ?? 0
  const said = (name: string): number => readings[name] ?? 0
  const differ = compared.flatMap((name) =>
    said(name) === happened(name)
      ? []
      : [`'${name}' is ${said(name)}, but there were ${happened(name)}`],
  )
  // A relay that gave up waiting counts an answer as unknown, whatever came later. What is given
  // back before it is tried, since the store is away, is counted nowhere.
  const tooMany = ['published confirmed', 'published refused', 'given back'].flatMap((name) =>
    said(name) <= happened(name)
      ? []
      : [`'${name}' is ${said(name)}, but there were only ${happened(name)}`],
  )
  const answers = (count: (name: string) => number): number =>
    count('published confirmed') + count('published refused') + count('published unknown')
  const missing = answers(happened) - answers(said)
  return [
    ...differ,
    ...tooMany,
    ...(missing > 0 ? [`${missing} answers of the broker were not counted`] : []),
  ]
}

export const metricsTruth: Checker = {
  check: 'metricsTruth',
  says: 'the counters of a process, or the gauges of the outbox at rest, are not what happened',
  find(evidence) {
    const { lines, truth } = evidence
    const known = history(evidence)
    // Whoever was forced to stop has given up what it would have counted.
    const orderly = new Set(
      lines.flatMap((line) =>
        line.op === 'exit' && line.how === 'exit 0'
          ? [lifeOf({ proc: line.of, life: line.ofLife })]
          : [],
      ),
    )
    const found = lines.flatMap((line) => {
      const life = lifeOf(line)
      if (line.op !== 'meters' || !orderly.has(life)) return []
      return wrong(line.readings, known.get(life) ?? new Map<string, number>()).map(
        (text) => `${life}: ${text}`,
      )
    })
    return [...found, ...truth.gauges]
  },
}
