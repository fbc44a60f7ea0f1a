import type { Effort } from '../effort.ts'
import { interleave } from '../measure.ts'
import { type Table, tableOf } from '../report.ts'
import { type Publishing, publishingCandidates } from './publishing.ts'
import { type Receiving, receivingCandidates, type Servers } from './receiving.ts'
import type { RunQueue } from './road.ts'

interface Section<Queue extends RunQueue> {
  readonly publishing: Publishing<Queue>
  readonly receiving: Receiving<Queue>
  /** Words of the two titles, before the versions of the servers. */
  readonly published: string
  readonly received: string
}

/** Publishing to a broker, and a handler with an inbox row and one business row. */
export async function brokerTables<Queue extends RunQueue>(
  effort: Effort,
  servers: Servers,
  { publishing, receiving, published, received }: Section<Queue>,
): Promise<Table[]> {
  const { runs, size, only } = effort
  const { postgres, broker } = servers
  const name = publishing.road.broker
  const options = { warmUp: size !== 'tiny', only }
  const unit = 'messages/s'
  return [
    tableOf(
      { id: `${name} publish`, title: `${published}, ${broker.version}`, unit },
      await interleave(publishingCandidates(publishing, effort, broker), runs, options),
    ),
    tableOf(
      {
        id: `${name} receive`,
        title: `${received}, ${postgres.version}, ${broker.version}`,
        unit,
      },
      await interleave(receivingCandidates(receiving, effort, servers), runs, options),
    ),
  ]
}
