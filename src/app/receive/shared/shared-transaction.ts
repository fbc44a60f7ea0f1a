import { MersalError } from '../../../core/errors/errors.ts'
import type { SharedUnits } from '../../../core/store.ts'
import { emit } from '../../../core/telemetry.ts'
import { linkAbortOfAll } from '../../../lib/async/linked-abort.ts'
import type { RunUnit } from '../../unit/run-unit.ts'
import type { TimeLimit } from '../../unit/time-limit.ts'
import { Unit } from '../../unit/unit.ts'
import {
  type AttemptPorts,
  type Reception,
  type WithSender,
  attempt,
  handlerLimit,
} from '../attempt.ts'
import { forgetEarlyCommit } from '../early-commit.ts'
import { SharedInbox } from './shared-inbox.ts'

/** A message that shares its transaction with others of its type. */
export interface Member<Tx> {
  readonly reception: Reception<Tx>
  /**
   * Runs a function in the asynchronous context in which the delivery came: with the trace, the
   * tenant, and whatever else a step has put there.
   */
  readonly within: <Result>(work: () => Result) => Result
}

/** How far a shared transaction has come. */
export type SharedProgress =
  | { readonly stage: 'opening' }
  | { readonly stage: 'recording' }
  | Handling
  | { readonly stage: 'committing' }

export interface Handling {
  readonly stage: 'handling'
  /** Place of the message whose handler was called last. */
  readonly index: number
  /** When it was called, in monotonic milliseconds. */
  readonly beganAt: number
  /** Resolves when that handler has ended. Never rejects. */
  readonly ended: Promise<unknown>
}

export type SharedOutcome<Tx> = { readonly kind: 'committed' } | SharedFailure<Tx>

/** Why nothing was committed, and what is known of it. */
export interface SharedFailure<Tx> {
  readonly kind: 'failed'
  readonly error: unknown
  readonly progress: SharedProgress
  /** A handler, or its failure, ended the transaction before the unit did. */
  readonly over: boolean
  /** A handler committed the transaction. Its inbox rows have been deleted. */
  readonly committedByHandler: boolean
  /** The messages whose handlers were called. */
  readonly called: ReadonlySet<Member<Tx>>
  /** When the unit was given up, in monotonic milliseconds. */
  readonly givenUpAt: number | undefined
}

export interface SharedPorts<Tx> extends AttemptPorts<Tx> {
  readonly runUnit: RunUnit<Tx>
  readonly sharing: SharedUnits<Tx>
}

/** One unit on the shared transaction, and what its handlers are called with. */
interface Whole<Tx> {
  readonly unit: Unit<Tx>
  readonly inbox: SharedInbox<Tx>
  readonly signal: AbortSignal
  /** Carries what the store has put into the asynchronous context. */
  readonly carried: <Result>(work: () => Result) => Result
}

/**
 * Handles several messages of one type in one transaction: the inbox, the handlers one after the
 * other, then all of their messages and the commit. It goes on as long as the transport still holds
 * one of the messages. Of a message that the transport has lost, the inbox will know.
 */
export class SharedTransaction<Tx> {
  readonly #ports: SharedPorts<Tx>
  readonly #members: readonly Member<Tx>[]
  readonly #called = new Set<Member<Tx>>()
  #progress: SharedProgress = { stage: 'opening' }
  #inbox: SharedInbox<Tx> | undefined
  #failed: { readonly error: unknown; readonly over: boolean } | undefined
  #givenUpAt: number | undefined

  constructor(ports: SharedPorts<Tx>, members: readonly Member<Tx>[]) {
    this.#ports = ports
    this.#members = members
  }

  /** Never rejects. Call it once. */
  async run(): Promise<SharedOutcome<Tx>> {
    for (const { reception } of this.#members) reception.progress.stage = 'opening'
    const outcome = await this.#run()
    emit('mersal:batch', () => ({
      app: this.#ports.settings.name,
      type: typeOf(this.#members),
      messages: this.#members.length,
      outcome: outcome.kind === 'committed' ? 'handled' : 'undone',
    }))
    return outcome
  }

  async #run(): Promise<SharedOutcome<Tx>> {
    using link = linkAbortOfAll(signalsOf(this.#members))
    try {
      await this.#ports.runUnit({
        signal: link.signal,
        limit: sharedLimit(this.#ports, this.#members),
        work: (unit, { signal }) => this.#handleAll(unit, signal),
      })
      return { kind: 'committed' }
    } catch (error) {
      // At this moment: a handler that was given up may go on, and change it.
      const failure = this.#failure(error)
      return { ...failure, committedByHandler: await this.#forgetEarlyCommit() }
    }
  }

  #failure(error: unknown): Omit<SharedFailure<Tx>, 'committedByHandler'> {
    return {
      kind: 'failed',
      error,
      progress: this.#progress,
      over: this.#failed?.over === true,
      called: new Set(this.#called),
      givenUpAt: this.#givenUpAt,
    }
  }

  async #handleAll(unit: Unit<Tx>, signal: AbortSignal): Promise<void> {
    if (this.#progress.stage !== 'opening') throw this.#whyNotAgain()
    const { settings, sharing } = this.#ports
    const onAbort = (): void => void (this.#givenUpAt = settings.clock.monotonic())
    signal.addEventListener('abort', onAbort, { once: true })
    this.#progress = { stage: 'recording' }
    const { tracker, name: consumer } = settings
    const messageIds = idsOf(this.#members)
    const inbox = new SharedInbox({ tracker, consumer, tx: unit.tx, messageIds })
    this.#inbox = inbox
    await inbox.open()
    const whole = { unit, inbox, signal, carried: sharing.carry() }
    for (const [index, member] of this.#members.entries()) {
      signal.throwIfAborted()
      if (!inbox.together) this.#progress = { stage: 'recording' }
      await this.#attempt(whole, index, member)
    }
    this.#progress = { stage: 'committing' }
  }

  /**
   * A store that repeats its work would call the handlers with bodies that they may have changed.
   */
  #whyNotAgain(): unknown {
    const text = 'a shared transaction is not repeated'
    return this.#failed?.error ?? new MersalError('MERSAL_STORE_CONFLICT', text)
  }

  #attempt(whole: Whole<Tx>, index: number, member: Member<Tx>): Promise<void> {
    const { unit, inbox, signal, carried } = whole
    return attempt(
      member.reception,
      {
        tx: unit.tx,
        signal,
        call: (handler) =>
          this.#watch(unit, index, member, () =>
            carried(() => callInPart(this.#ports, unit, member, handler)),
          ),
      },
      () => inbox.isDuplicate(index),
      this.#ports.settings,
    )
  }

  /** Notes the call of a handler, and why nobody may go on after it. */
  async #watch(
    { tx }: Unit<Tx>,
    index: number,
    member: Member<Tx>,
    call: () => Promise<void>,
  ): Promise<void> {
    const { settings, sharing } = this.#ports
    this.#called.add(member)
    const running = member.within(call)
    const ended = running.catch(() => {})
    this.#progress = { stage: 'handling', index, beganAt: settings.clock.monotonic(), ended }
    try {
      await running
      demandOpen(sharing.state(tx))
    } catch (error) {
      this.#failed = { error, over: sharing.state(tx) === 'over' }
      throw error
    }
  }

  /** A handler may have committed the transaction, which the client does not always tell. */
  async #forgetEarlyCommit(): Promise<boolean> {
    if (this.#inbox === undefined) return false
    using link = linkAbortOfAll(signalsOf(this.#members))
    const records = { tx: this.#inbox.tx, messageIds: this.#inbox.recorded() }
    return await forgetEarlyCommit(this.#ports.settings, records, link.signal)
  }
}

/** A handler that ended the transaction, or in which a statement failed, is the last one in it. */
function demandOpen(state: ReturnType<SharedUnits<never>['state']>): void {
  if (state === 'open') return
  const why =
    state === 'over'
      ? 'ended the transaction, or let a failure end it'
      : 'caught the error of a statement that had failed'
  throw new MersalError('MERSAL_ROLLED_BACK', `a handler ${why}`)
}

/**
 * Calls one handler in a unit of its own on the shared transaction, so that what it sends carries
 * its message as the cause.
 */
async function callInPart<Tx>(
  { ambient, senders }: AttemptPorts<Tx>,
  whole: Unit<Tx>,
  { reception }: Member<Tx>,
  handler: (withSender: WithSender) => Promise<void>,
): Promise<void> {
  const cause = reception.delivery.message
  const unit = new Unit(whole.tx, { cause, whole, level: () => ambient.getStore()?.level })
  try {
    await ambient.run({ unit, cause }, () => handler((fields) => senders.make(unit, fields)))
    whole.adopt(unit)
  } finally {
    unit.end()
  }
}

function sharedLimit<Tx>(ports: SharedPorts<Tx>, members: readonly Member<Tx>[]): TimeLimit {
  const [first] = members as [Member<Tx>]
  const one = handlerLimit(ports.settings, first.reception.registration)
  const text = `${members.length} messages of '${typeOf(members)}' in one transaction took longer than ${one.ms} ms: lower batch in handle(), or raise receive.handlerTimeoutMs`
  return { ...one, error: () => new MersalError('MERSAL_HANDLER_TIMEOUT', text) }
}

export function typeOf<Tx>(members: readonly Member<Tx>[]): string {
  return members[0]?.reception.registration.type.name ?? ''
}

const idsOf = <Tx>(members: readonly Member<Tx>[]): string[] =>
  members.map(({ reception }) => reception.delivery.message.id)

const signalsOf = <Tx>(members: readonly Member<Tx>[]): AbortSignal[] =>
  members.map(({ reception }) => reception.signal)
