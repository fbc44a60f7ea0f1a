import type { CommitLog } from '../core/commit-log.ts'
import type { OutgoingMessage } from '../core/messages/message.ts'
import type { PauseBoard } from '../core/operations.ts'
import type { ClaimedMessage, OutboxStorage, Waker } from '../core/outbox.ts'
import type { Transport } from '../core/transport.ts'
import type { Environment } from './environment.ts'
import type { ClaimCondition } from './claim/claim-loop.ts'
import type { RelaySettings } from './options.ts'
import type { SharedCapacity } from './limits/capacity.ts'
import type { StretchSizes } from './claim/stretch-size.ts'

/** What the relay works with; everything that touches the world is a port. */
export interface RelayPorts {
  readonly environment: Environment
  readonly storage: Pick<OutboxStorage<never>, 'claim' | 'settle' | 'renew' | 'clock' | 'waiting'>
  /** By the name of the transport in the destination. */
  readonly transports: ReadonlyMap<string, Transport>
  readonly wakers?: readonly Waker[]
  /** What operators have paused. Without it nothing ever is. */
  readonly pauses?: Pick<PauseBoard, 'list'> | undefined
  readonly settings: RelaySettings
  /** Where `settings.commitLog` reads. */
  readonly log?: Pick<CommitLog, 'follow'> | undefined
  /**
   * Where it may claim into, if it shares that with other relays; by default its own `window`.
   */
  readonly capacity?: Pick<SharedCapacity, 'join'> | undefined
  /** For tests: how many rows a claim walks over. */
  readonly stretch?: StretchSizes | undefined
}

/** What a relay has seen of the storage and of the destinations. */
export interface RelayCondition {
  readonly claims: Readonly<ClaimCondition>
  /** Calls of `settle` that failed in a row. Nothing is claimed meanwhile. */
  readonly settleFailures: number
  /** Since when a call of `settle` has been waiting for its answer, in monotonic milliseconds. */
  readonly settleAskedAt: number | undefined
  /** Destinations that do not answer. */
  readonly away: ReadonlySet<string>
}

/** Moves outbox rows to the broker. */
export interface Relay extends AsyncDisposable {
  readonly state: 'idle' | 'running' | 'stopping' | 'stopped'
  /** Messages in its hands. */
  readonly held: number
  readonly condition: RelayCondition
  start(): void
  /** There may be rows: look soon. Cheap, may be called at any time and as often as one likes. */
  wake(): void
  /**
   * Asks whether a unit that is about to be flushed may use the express lane; undefined when the
   * relay does not run, is full, is slow or is stopping. Call it before the rows are written.
   */
  express(messages?: readonly OutgoingMessage[]): ExpressOffer | undefined
  /** Resolves when nothing that is due and reachable is left and nothing is in flight. */
  drain(options?: { readonly signal?: AbortSignal }): Promise<void>
  /**
   * No new claims; what is in flight is confirmed and settled, the rest is given back. After
   * `graceMs` the waiting ends and the rest is left to expire. Returns whether all was settled.
   */
  stop(options?: { readonly graceMs?: number }): Promise<boolean>
}

/** Permission to have rows born claimed, and the way to hand them over after a durable commit. */
export interface ExpressOffer {
  readonly token: string
  readonly graceMs: number
  /** Publishes these rows, born claimed with the token of this offer. Never throws, never waits. */
  dispatch(messages: readonly ClaimedMessage[]): void
  /** The unit was rolled back, or its commit is unknown: forget the offer. */
  cancel(): void
}
