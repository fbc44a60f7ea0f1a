import { createBell, type Bell } from './claim/bell.ts'
import { Dispatch } from './claim/dispatch.ts'
import { createDrains, type Drains } from './claim/drains.ts'
import { createDueWatch, type DueWatch } from './claim/due-watch.ts'
import { createInHand, type InHand } from './claim/in-hand.ts'
import { createLooks, type Looks } from './claim/looks.ts'
import { ownCapacity } from './limits/capacity.ts'
import { createHoldBacks, type HoldBacks } from './limits/hold-backs.ts'
import { shareOf } from './limits/shares.ts'
import { createSlowDestinations } from './limits/slow-destinations.ts'
import { createPublisher, type Publisher } from './publish/publisher.ts'
import { createReports, type Reports } from './reports.ts'
import { createRenewals } from './settle/renewals.ts'
import type { Entry } from './settle/entry.ts'
import { createSettler, type Settler } from './settle/settler.ts'
import type { RelayPorts } from './types.ts'

/** What a relay is made of. */
export interface RelayParts {
  readonly reports: Reports
  readonly bell: Bell
  readonly looks: Looks
  readonly due: DueWatch
  readonly drains: Drains
  readonly inHand: InHand
  readonly holdBacks: HoldBacks
  readonly settler: Settler
  readonly publisher: Publisher
  readonly dispatch: Dispatch
}

/** What the parts get besides the ports of the relay. */
export interface PartsPorts {
  readonly settle: RelayPorts['storage']['settle']
  /** Rows have left the hands of the relay. */
  readonly onRoom: () => void
}

/** Makes the parts and says what each tells the others. Nothing runs yet. */
export function relayParts(ports: RelayPorts, also: PartsPorts): RelayParts {
  const { environment, settings, storage, transports } = ports
  const reports = createReports(environment)
  const bell = createBell(environment.clock)
  const looks = createLooks(settings.pollIntervalMs, ports.stretch)
  const due = createDueWatch({
    environment,
    waiting: storage.waiting,
    pollIntervalMs: settings.pollIntervalMs,
    onRows(told, now) {
      looks.rows.expect(told, now)
      bell.nudge()
    },
  })
  const drains = createDrains()
  const slow = createSlowDestinations(shareOf(settings.window))
  const capacity = ports.capacity?.join(() => bell.nudge()) ?? ownCapacity(settings.window)
  const inHand = createInHand({ clock: environment.clock, settings, capacity, slow })
  const gone = leaving({ inHand, looks, drains, bell }, ports, also.onRoom)
  const holdBacks = createHoldBacks({
    environment,
    settings,
    board: ports.pauses,
    slow,
    reports,
    held: () => inHand.rows,
    onProbe: () => bell.nudge(),
    // What was left alone may go now; what is in hand meets the new list when its turn comes.
    onPauses() {
      publisher.withdraw()
      looks.everywhere()
      bell.hint()
    },
  })
  const gate = holdBacks.messages
  const settler = createSettler({ environment, storage: also, onGone: gone })
  const renewals = createRenewals({ environment, storage, claimMs: settings.claimMs })
  const publisher = createPublisher({
    environment,
    transports,
    gate,
    settler,
    renewals,
    settings,
    reports,
  })
  const dispatch = new Dispatch({
    environment,
    settings,
    inHand,
    publisher,
    settler,
    slowMode: holdBacks.claims.slowMode,
    reports,
    onSuspect: () => looks.atOnce(),
    onLost: (entries) => gone(entries, 'dropped'),
  })
  return { reports, bell, looks, due, drains, inHand, holdBacks, settler, publisher, dispatch }
}

/** What follows when rows leave the hands of the relay: room, later rows, and those who drain. */
function leaving(
  { inHand, looks, drains, bell }: Pick<RelayParts, 'inHand' | 'looks' | 'drains' | 'bell'>,
  { environment }: RelayPorts,
  onRoom: () => void,
): (entries: readonly Entry[], how: 'settled' | 'dropped') => void {
  return (entries, how) => {
    inHand.letGo(entries.map(({ row }) => row))
    looks.gone(entries, how, environment.clock.monotonic())
    if (inHand.rows === 0 && drains.wanted) {
      looks.prove()
      bell.hint()
    }
    bell.nudge()
    onRoom()
  }
}
