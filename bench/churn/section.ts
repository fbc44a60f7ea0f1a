import { makeTables } from '../backlog.ts'
import { amount, type Effort } from '../effort.ts'
import { median, type Sample } from '../measure.ts'
import type { Table } from '../report.ts'
import { type Design, mersalOutbox, plainDelete } from './designs.ts'
import { keeping } from './kept.ts'
import { pass, type Passed } from './pass.ts'

/**
 * Very many messages through the outbox: what they leave behind in the table, and what they cost
 * the log.
 */
export async function churn(effort: Effort): Promise<Table[]> {
  const postgres = await effort.servers.postgres()
  await makeTables(postgres.url)
  const count = amount(effort, 1_000_000, 100_000)
  const designs = [plainDelete, mersalOutbox]
  const passes = designs.map((): Passed[] => [])
  for (let round = 0; round < effort.runs; round++) {
    for (const [index, design] of designs.entries())
      passes[index]?.push(await pass(postgres, design, count))
  }
  return [tableFor(designs, passes, count, postgres.version), await keeping(effort, postgres)]
}

function tableFor(
  designs: readonly Design[],
  passes: readonly (readonly Passed[])[],
  count: number,
  version: string,
): Table {
  const results = designs.map(({ name }, index) => ({
    name,
    samples: (passes[index] ?? []).map((passed) => sampleOf(passed, count)),
  }))
  const figures = Object.keys(results[0]?.samples[0]?.figures ?? {})
  return {
    id: 'churn',
    title: `${count.toLocaleString('en-US')} messages written and relayed at the same time, ${version}`,
    head: ['table', 'messages/s', ...figures, 'check'],
    rows: results.map(({ name, samples }) => {
      const faults = samples.flatMap((sample) => sample.faults)
      return [
        name,
        Math.round(median(samples.map(({ rate }) => rate))).toLocaleString('en-US'),
        ...figures.map((figure) =>
          shown(median(samples.map((sample) => sample.figures?.[figure] ?? Number.NaN))),
        ),
        faults.length === 0 ? 'ok' : `**${faults.join('; ')}**`,
      ]
    }),
    faults: results.flatMap(({ samples }) => samples.flatMap(({ faults }) => faults)),
    data: results,
  }
}

const shown = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toFixed(2)

function sampleOf(
  { seconds, walBytes, cpuSeconds, before, peakBytes, after, faults }: Passed,
  count: number,
): Sample {
  return {
    rate: count / seconds,
    cpu: { relay: (cpuSeconds * 100_000) / count },
    figures: {
      'most MB': peakBytes / 1e6,
      'MB after': (after.tableBytes + after.indexBytes) / 1e6,
      'indexes MB after': after.indexBytes / 1e6,
      'dead rows after': after.dead,
      'empty poll ms before': before.poll.ms,
      'empty poll ms after': after.poll.ms,
      'buffers before': before.poll.buffers,
      'buffers after': after.poll.buffers,
      'bytes of log per message': walBytes / count,
    },
    faults,
  }
}
