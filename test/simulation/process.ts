import { isLogToken } from '../../src/core/commit-log.ts'
import type { ClaimedMessage, OutboxStorage } from '../../src/core/outbox.ts'
import { silentLogger } from '../../src/core/telemetry.ts'
import type { createRelay as CreateRelay } from '../../src/outbox/relay.ts'
import { type RelayOptions, relaySettings } from '../../src/outbox/options.ts'
import type { StretchSizes } from '../../src/outbox/claim/stretch-size.ts'
import type { Relay } from '../../src/outbox/types.ts'
import type { Broker } from './broker.ts'
import type { Ledger, Record } from './ledger.ts'
import type { SimulatedLog } from './log/simulated-log.ts'
import type { Owner, Scheduler } from './scheduler.ts'

/** Faults between a process and the database; probabilities. */
export interface StoreFaults {
  claimFails: number
  claimReplyLost: number
  settleFails: number
  settleReplyLost: number
}

/** One run of a program with a relay in it. A restart makes a new one. */
export interface Process {
  readonly owner: Owner
  readonly relay: Relay
  crash(): void
  pause(ms: number): void
}

export interface ProcessPorts {
  readonly createRelay: typeof CreateRelay
  readonly scheduler: Scheduler
  readonly ledger: Ledger
  readonly broker: Broker
  readonly storage: OutboxStorage<never>
  readonly faults: StoreFaults
  readonly options: RelayOptions
  /** How many rows the claims walk over. */
  readonly stretch: StretchSizes | undefined
  readonly log?: SimulatedLog | undefined
}

/** How long the settlement of what came from the log may be repeated. */
const REPEATED_MS = 2000

export function startProcess(name: string, ports: ProcessPorts, onCrash: () => void): Process {
  const { scheduler, ledger, broker, faults } = ports
  /** Messages that this process holds by a claim or in the express lane. */
  const held = new Map<string, { readonly record: Record; published: boolean }>()
  /**
   * A settle failed and none has succeeded since: what is published now may wait too long as well.
   */
  let troubled = false
  const claimOf = ({
    position,
    token,
  }: {
    readonly position: bigint
    readonly token: string
  }): string => `${position} ${token}`
  const owner: Owner = { name, alive: true, pausedUntil: 0 }

  function charge(): void {
    for (const { record, published } of held.values()) {
      record.losses++
      if (published) record.hits++
    }
  }

  function published(record: Record): void {
    if (troubled) record.hits++
    for (const entry of held.values()) if (entry.record === record) entry.published = true
  }

  function crash(): void {
    if (!owner.alive) return
    owner.alive = false
    ledger.write(`crash ${name}`)
    charge()
    onCrash()
  }

  /**
   * A call to the database: the request travels, it happens, the answer travels. Whoever has died
   * learns nothing.
   */
  function call<Result>(
    action: () => Promise<Result>,
    fails: number,
    replyLost: (result: Result) => void,
    lost: number,
  ): Promise<Result> {
    if (!owner.alive) return new Promise(() => {})
    return new Promise((resolve, reject) => {
      const answer = (act: () => void): unknown =>
        scheduler.after(scheduler.between(1, 6), owner, act)
      scheduler.after(scheduler.between(1, 6), undefined, () => {
        if (scheduler.chance(fails)) {
          answer(() => reject(new Error('the database is away')))
          return
        }
        action().then(
          (result) => {
            if (!scheduler.chance(lost)) return answer(() => resolve(result))
            replyLost(result)
            return answer(() => reject(new Error('the answer was lost')))
          },
          (error: Error) => answer(() => reject(error)),
        )
      })
    })
  }

  function hold(rows: readonly ClaimedMessage[]): void {
    for (const row of rows) {
      const record = ledger.records.get(row.message.id)
      if (record !== undefined) held.set(claimOf(row), { record, published: false })
    }
  }

  const storage: Pick<OutboxStorage<never>, 'claim' | 'settle' | 'waiting'> = {
    claim: (request) =>
      call(
        async () => {
          const rows = await ports.storage.claim(request)
          if (rows.length > 0)
            ledger.write(`claim ${rows.map((row) => row.message.id).join(',')} by ${name}`)
          if (owner.alive) hold(rows)
          // Whoever is dead or stands still when it gets them may not be back in time.
          if (!owner.alive || owner.pausedUntil > scheduler.now)
            for (const { message } of rows) (ledger.records.get(message.id) as Record).losses++
          return rows
        },
        faults.claimFails,
        (rows) => {
          for (const row of rows) {
            held.delete(claimOf(row))
            ;(ledger.records.get(row.message.id) as Record).losses++
          }
        },
        faults.claimReplyLost,
      ),
    waiting: {
      upcoming: (options) =>
        call(
          async () => (await ports.storage.waiting?.upcoming(options)) ?? [],
          faults.claimFails,
          () => {},
          faults.claimReplyLost,
        ),
    },
    settle: (settlements) => {
      return call(
        async () => {
          const result = await ports.storage.settle(settlements)
          ledger.write(
            `settle ${settlements.map(({ position, kind }) => `${position} ${kind}`).join(',')} by ${name}, ${result.stale} stale`,
          )
          return result
        },
        faults.settleFails,
        () => {},
        faults.settleReplyLost,
      ).then(
        (result) => {
          troubled = false
          for (const settlement of settlements) {
            const forget = (): unknown => held.delete(claimOf(settlement))
            // It may have found no row yet, and is repeated.
            if (result.stale > 0 && isLogToken(settlement.token))
              scheduler.after(REPEATED_MS, undefined, forget)
            else forget()
          }
          return result
        },
        (error: unknown) => {
          // Also what waits for the next settle may wait too long now.
          troubled = true
          charge()
          throw error
        },
      )
    },
  }

  const relay = ports.createRelay({
    environment: {
      app: name,
      logger: silentLogger,
      clock: scheduler.clockOf(owner, scheduler.between(0, 1_000_000)),
      random: scheduler.random,
      newToken: () => `${name}-${scheduler.random()}`,
    },
    storage,
    transports: new Map([['default', broker.transportFor(owner, { crash, published })]]),
    settings: relaySettings(ports.options),
    stretch: ports.stretch,
    log: ports.log?.of(owner, hold),
  })
  relay.start()

  return {
    owner,
    relay: watched(relay, hold),
    crash,
    pause(ms) {
      owner.pausedUntil = Math.max(owner.pausedUntil, scheduler.now + ms)
      ledger.write(`pause ${name} for ${ms}`)
      charge()
    },
  }
}

/** Notes what enters the express lane. */
function watched(relay: Relay, hold: (rows: readonly ClaimedMessage[]) => void): Relay {
  return {
    get state() {
      return relay.state
    },
    get held() {
      return relay.held
    },
    condition: relay.condition,
    start: () => relay.start(),
    wake: () => relay.wake(),
    drain: (options) => relay.drain(options),
    stop: (options) => relay.stop(options),
    [Symbol.asyncDispose]: () => relay[Symbol.asyncDispose](),
    express(messages) {
      const offer = relay.express(messages)
      if (offer === undefined) return undefined
      return {
        ...offer,
        dispatch(rows) {
          hold(rows)
          offer.dispatch(rows)
        },
      }
    },
  }
}
