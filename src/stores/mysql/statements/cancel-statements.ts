import type { Tables } from '../../../sql/mysql/names.ts'
import type { Server } from '../../../sql/mysql/server.ts'
import { whole } from '../../../sql/mysql/whole.ts'
import { hasMark } from './saving-statements.ts'

/** Takes a delayed message back, in the transaction that has a mark. */
export interface CancelStatements {
  /**
   * Mark, id, position, id. Whether the transaction has the mark; the first free row of the message
   * after that position, or 0; and whether a relay has taken one.
   */
  readonly findDelayed: string
  /** Position. Locks the row, and says whether no relay has ever taken it. */
  readonly lockDelayed: string
  /** Position, mark. */
  readonly removeDelayed: string
}

/** What was in the hands of a relay has a token, an attempt or an error. */
const free = 'o.attempts = 0 and o.token is null and o.error is null'

/**
 * The row is found without a lock. A search for what is not there would lock the gap in which it
 * would be, above READ COMMITTED, and hold up everybody who adds a row there. What a relay has
 * taken is never free again, so it needs no lock, which its settlement would have to wait for.
 */
export function cancelStatements(T: Tables, server: Server): CancelStatements {
  const delayed = (what: string): string =>
    `select ${what} from ${T.outbox} o force index (mersal_outbox_id) where o.id = ? and o.due_at is not null`
  return {
    findDelayed: `
select ${whole(`if(${hasMark(server)}, 1, 0)`)} as inside,
  ${whole(`coalesce((${delayed('min(o.position)')} and o.position > ? and ${free}), 0)`)} as found,
  ${whole(`exists (${delayed('1')} and not (${free}))`)} as taken`,
    lockDelayed: `
select ${whole(`if(${free}, 1, 0)`)} as free from ${T.outbox} o force index (primary) where o.position = ? for update`,
    removeDelayed: `
delete o from ${T.outbox} o force index (primary) where o.position = ? and ${hasMark(server)}`,
  }
}
