import { makeTables } from '../backlog.ts'
import { amount, type Effort } from '../effort.ts'
import type { Table } from '../report.ts'
import { mersalOutbox } from './designs.ts'
import { type Mark, pass } from './pass.ts'

/**
 * The same table after a tenth, a half and all of very many messages: does its age matter? One run.
 */
export async function growth(effort: Effort): Promise<Table[]> {
  const postgres = await effort.servers.postgres()
  await makeTables(postgres.url)
  const count = amount(effort, 10_000_000, 200_000)
  const passed = await pass(
    postgres,
    mersalOutbox,
    count,
    [0.01, 0.1, 0.5, 1].map((share) => Math.round(count * share)),
  )
  const { marks, before, after, peakBytes, walBytes, faults } = passed
  const rates = marks.map(({ moved, seconds }, index) => {
    const since = marks[index - 1] ?? { moved: 0, seconds: 0 }
    return (moved - since.moved) / (seconds - since.seconds)
  })
  const notes = [
    `At the most ${mb(peakBytes)} MB; 3 s after the last message ${mb(after.tableBytes + after.indexBytes)} MB with ${whole(after.dead)} dead rows. Looking for rows when there are none: ${after.poll.ms.toFixed(2)} ms and ${after.poll.buffers} pages, against ${before.poll.ms.toFixed(2)} ms and ${before.poll.buffers} in the new table. ${whole(walBytes / count)} bytes of log per message of 256 bytes; check: ${faults.length === 0 ? 'ok' : `**${faults.join('; ')}**`}.`,
  ]
  return [
    {
      id: 'growth',
      title: `${whole(count)} messages written and relayed at the same time, ${postgres.version}`,
      head: ['messages so far', 'table and indexes MB', 'messages/s since the row above'],
      rows: marks.map(({ moved, bytes }, index) => [
        whole(moved),
        mb(bytes),
        whole(rates[index] ?? Number.NaN),
      ]),
      notes,
      faults,
      data: passed satisfies { readonly marks: readonly Mark[] },
    },
  ]
}

const mb = (bytes: number): string => (bytes / 1e6).toFixed(1)
const whole = (value: number): string => Math.round(value).toLocaleString('en-US')
