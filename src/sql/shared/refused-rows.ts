import { attemptsOf } from '../../core/errors/attempts.ts'
import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type { StoreOperations } from '../../core/operations.ts'
import { checkNumber } from '../../core/options.ts'
import { printable } from '../../lib/text.ts'
import type { MessageRow, Whole } from './rows.ts'

type Described = Pick<MessageRow, 'id' | 'type' | 'transport' | 'kind' | 'name' | 'partition_key'>

/** An open row that was tried in vain, as every dialect selects it. */
export interface RefusedRow extends Described {
  readonly position: Whole
  readonly attempts: Whole
  /** Milliseconds since the Unix epoch. */
  readonly due_at: Whole
  readonly history: string | null
}

/** The columns that describe a message. */
export const describedRow = ({ id, type, to, partitionKey }: OutgoingMessage): Described => ({
  id,
  type,
  transport: to.transport,
  kind: to.kind,
  name: to.name,
  partition_key: partitionKey ?? null,
})

/** `list` answers those behind a position, in the order of positions. */
export function refusedMessages(
  list: (after: bigint, limit: number) => Promise<readonly RefusedRow[]>,
): NonNullable<StoreOperations['refused']> {
  return async ({ limit, after = '0' } = {}) => {
    const most = checkNumber('limit', limit, { default: 100, min: 1, max: 1000 })
    if (!/^\d{1,18}$/.test(after)) return []
    const rows = await list(BigInt(after), most)
    return rows.map(
      ({ position, id, type, transport, kind, name, partition_key: key, ...row }) => ({
        key: String(position),
        id,
        type: printable(type, 200),
        place: destinationKey({
          transport: printable(transport, 200),
          kind,
          name: printable(name, 200),
        }),
        ...(key === null ? {} : { partitionKey: key }),
        attempts: Math.max(0, Number(row.attempts)),
        dueAt: Math.round(Number(row.due_at)),
        history: attemptsOf(row.history),
      }),
    )
  }
}
