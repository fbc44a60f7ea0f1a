import { MersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type {
  Cancellation,
  OutboxStorage,
  SavedRow,
  Within,
  WriteWithin,
} from '../../core/outbox.ts'
import { lanes, newMark } from '../../sql/lanes.ts'
import type { SqlExecutor } from '../../sql/session.ts'
import { partsOf } from '../../sql/parts.ts'
import { explain } from '../../sql/postgres/failure.ts'
import { type Express, insertion, run, SAVE_ROWS, type SavePorts } from './save.ts'

const intoOutbox: WriteWithin = ({ save }, messages) => save(messages)

/**
 * Messages for transactions of somebody else, which may end at any moment: a caller that forgets to
 * await us sends ROLLBACK or COMMIT before our statements, and lends the connection to others. ADR
 * 0142 lists the interleavings.
 */
export function within<Tx>(ports: SavePorts<Tx>): NonNullable<OutboxStorage<Tx>['saveWithin']> {
  const lane = lanes()
  return async (tx, messages, write = intoOutbox) => {
    const executor = lateExecutor(ports, tx)
    const made = 'then' in messages ? undefined : messages
    return lane.run(tx, {
      atOnce:
        made === undefined
          ? undefined
          : (mark) => write(proving(ports, tx, { mark, only: false }), made),
      async leave(mark, before = '') {
        try {
          const { rows } = await executor.query(ports.sql.mark, [mark, before])
          return String(rows[0]?.['mark'])
        } catch (error) {
          throw explain(ports.schema, error)
        }
      },
      async later(mark) {
        const ready = await messages
        return write(proving(ports, tx, { mark, only: true }), ready)
      },
    })
  }
}

interface Proof {
  readonly mark: string
  /**
   * Nothing but the mark counts. The first statement leaves it, so that from the second one on that
   * is so in any case.
   */
  readonly only: boolean
  readonly express?: Express | undefined
}

/** Writes in a transaction that may have ended unseen: statements of the proven form. */
export function proving<Tx>(ports: SavePorts<Tx>, tx: Tx, { mark, only, express }: Proof): Within {
  const executor = lateExecutor(ports, tx)
  let marked = only
  /**
   * Twice if nothing had been written yet in this transaction, if it is one: the second time the
   * mark tells.
   */
  async function attempt<Row>(
    send: (proof: readonly [mark: string, only: boolean]) => Promise<readonly Row[]>,
  ): Promise<readonly Row[]> {
    const before = marked
    marked = true
    const rows = await send([mark, before])
    if (rows.length > 0 || before) return rows
    return send([mark, true])
  }
  return {
    async run(text, values, options) {
      try {
        const rows = await attempt(
          async (proof) => (await executor.query(text, [...values, ...proof], options)).rows,
        )
        ports.notes.saved(tx, rows[0]?.['xact'] as string | undefined, false)
        return { rows }
      } catch (error) {
        throw explain(ports.schema, error)
      }
    },
    async save(messages) {
      if (messages.length === 0) return []
      const saved = await attempt((proof) =>
        run(ports, tx, executor, insertion(ports, messages, express, proof)),
      )
      if (saved.length === 0) throw ended(ports.session.name, 'sent')
      return saved
    },
  }
}

/** As `save`, in a unit that the library has opened: the handler may have ended its transaction. */
export async function saveProving<Tx>(
  ports: SavePorts<Tx>,
  tx: Tx,
  messages: readonly OutgoingMessage[],
  express: Express | undefined,
): Promise<SavedRow[]> {
  const { save } = proving(ports, tx, { mark: newMark(), only: false, express })
  const saved: SavedRow[] = []
  for (const some of partsOf(messages, SAVE_ROWS)) saved.push(...(await save(some)))
  return saved
}

/** Takes a delayed message back, in a transaction that may end unseen. */
export async function cancel<Tx>(ports: SavePorts<Tx>, tx: Tx, id: string): Promise<Cancellation> {
  const { run: query } = proving(ports, tx, { mark: newMark(), only: false })
  const look = async (): Promise<Readonly<Record<string, unknown>>> => {
    const [row] = (await query(ports.sql.cancel, [id])).rows
    if (row === undefined) throw ended(ports.session.name, 'cancelled')
    return row
  }
  let row = await look()
  // Its row may have been taken back by another transaction that was waited for: look once more.
  if (row['answer'] === 'gone' && row['xact'] === null) row = await look()
  // Later messages of its key may go.
  if (row['answer'] === 'cancelled') ports.notes.saved(tx, undefined, true)
  return row['answer'] as Cancellation
}

const lateExecutor = <Tx>({ session }: SavePorts<Tx>, tx: Tx): SqlExecutor =>
  session.lateExecutor?.(tx) ?? session.executor(tx)

function ended(library: string, done: 'sent' | 'cancelled'): MersalError {
  const not = done === 'sent' ? 'stored' : 'cancelled'
  return new MersalError(
    'MERSAL_NOT_A_TRANSACTION',
    `${library}: the transaction that was open when the message was ${done} has ended, or its savepoint was rolled back, so the message was not ${not}: await every call before the transaction ends`,
    { details: { library } },
  )
}
