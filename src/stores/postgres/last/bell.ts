import type { Clock } from '../../../lib/async/clock.ts'
import { type Notifier, NOTIFY, notifier } from '../../../sql/postgres/notifier.ts'
import type { Own, Query } from '../../../sql/postgres/pool/pool.ts'
import { type Bound, Parameters, statement, types } from '../../../sql/postgres/unit/flight/wire.ts'

/**
 * Notifies the relays of all processes, after the commit: inside the transaction it would take a
 * lock of the whole cluster.
 */
export interface Bell extends Notifier {
  /** For the flight of a commit, to run behind it. Undefined: `notify` rings later. */
  readonly behind: () => Bound | undefined
}

export interface BellPorts {
  readonly own: Own
  readonly clock: Clock
  readonly channel: string
  /** Whether it may be prepared under a name: on our own connections, on those of the writers. */
  readonly prepares: { readonly own: () => boolean; readonly behind: () => boolean }
}

export function createBell({ own, clock, channel, prepares }: BellPorts): Bell {
  const values = [channel, '']
  const ring = (query: Query): Promise<unknown> =>
    prepares.own() ? query.named(NOTIFY, values) : query(NOTIFY, values)
  const bell = notifier(() => own.connection(ring), clock)
  const [plain, named] = [false, true].map((name) => bellOf(channel, name)) as [Bound, Bound]
  return {
    notify: () => bell.notify(),
    along: () => bell.along(),
    behind() {
      if (!bell.along()) return undefined
      return prepares.behind() ? named : plain
    },
    [Symbol.asyncDispose]: () => bell[Symbol.asyncDispose](),
  }
}

function bellOf(channel: string, named: boolean): Bound {
  const { text } = types
  const made = statement(NOTIFY, { named, parameters: [text, text] })
  return new Parameters(made).text(channel).text('').end()
}
