import { type Measured, measured, type Outcomes, plus, resultOf } from './costs.ts'

/** What the model says of a run, and what the run said. */
export interface Check {
  readonly run: string
  readonly predicted: number
  readonly measured: Measured
  /** Predicted of measured, minus one. */
  readonly error: number
}

/**
 * Of all cores of the machine, what a saturated run can use: the rest is waiting and the harness.
 */
const USABLE = 0.95

interface Prediction {
  readonly id: string
  readonly name: string
  readonly predicted: number | undefined
}

/**
 * Predictions from the sections `relay`, `drain`, `write` and `receive` for runs of `scale` and
 * `sustained`, which they do not contain.
 */
export function checks(outcomes: Outcomes, cores: number): Check[] {
  const keyed = 'Mersal, 1,000 keys'
  const published = cpu(outcomes, 'relay quorum', keyed)
  const publishing = rate(outcomes, 'relay quorum', keyed)
  const unkeyed = rate(outcomes, 'relay quorum', 'Mersal, no keys')
  const draining = rate(outcomes, 'drain', keyed)
  // Many relays: as fast as each alone, until the cores are used up.
  const relays = (count: number): number | undefined =>
    published === undefined || publishing === undefined
      ? undefined
      : Math.min(count * publishing, (cores * USABLE * 100_000) / published)
  const predictions: readonly Prediction[] = [
    { id: 'scale relays', name: '1 relay', predicted: relays(1) },
    { id: 'scale relays', name: '2 relays', predicted: relays(2) },
    { id: 'scale relays', name: '4 relays', predicted: relays(4) },
    { id: 'scale backlog', name: 'middle', predicted: draining },
    { id: 'scale backlog', name: 'large', predicted: draining },
    { id: 'scale keys', name: '10,000 keys', predicted: publishing },
    { id: 'scale keys', name: 'no keys', predicted: unkeyed },
    {
      id: 'sustained',
      name: 'Mersal, separate relay, one flight',
      predicted: wholeWay(outcomes, cores),
    },
  ]
  return predictions.flatMap(({ id, name, predicted }) => {
    const found = measured(resultOf(outcomes, id, name)?.samples, (sample) => sample.rate)
    if (found === undefined || predicted === undefined) return []
    return [
      { run: `${id}: ${name}`, predicted, measured: found, error: predicted / found.middle - 1 },
    ]
  })
}

/**
 * Producers, relay and a plain consumer on the same cores; the consumer costs what publishing costs
 * the client, at the most.
 */
function wholeWay(outcomes: Outcomes, cores: number): number | undefined {
  const written = cpu(outcomes, 'write 8', '+ 1 keyed message, Mersal, one flight')
  const published = cpu(outcomes, 'relay classic', 'Mersal, 1,000 keys')
  const consumed = cpu(outcomes, 'relay classic', 'bare publishing')
  if (written === undefined || published === undefined || consumed === undefined) return undefined
  return (cores * USABLE * 100_000) / (written + published + consumed / 2)
}

function rate(outcomes: Outcomes, id: string, name: string): number | undefined {
  return measured(resultOf(outcomes, id, name)?.samples, (sample) => sample.rate)?.middle
}

/** CPU seconds per 100,000 of all parts together. */
function cpu(outcomes: Outcomes, id: string, name: string): number | undefined {
  const result = resultOf(outcomes, id, name)
  const parts = Object.keys(result?.cpu ?? {}).flatMap(
    (part) => measured(result?.samples, (sample) => sample.cpu[part]) ?? [],
  )
  return parts.length === 0 ? undefined : plus(...parts).middle
}
