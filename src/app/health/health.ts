import { errorCode } from '../../core/errors/error-text.ts'
import type { AppRelay } from '../app-relay.ts'
import type { AppState } from '../lifecycle.ts'
import type { Reception } from '../receive/intake.ts'
import type { StoreGate } from '../receive/store-away/store-gate.ts'
import type { Settings } from '../settings/settings.ts'

/** `degraded`: it works, and somebody should look. `down`: it does not. */
export type HealthStatus = 'ok' | 'degraded' | 'down'

/** One thing that an app depends on. */
export interface HealthPart {
  /**
   * `store`: its database. `relay`: its relay, where it runs one. `receiving`: its queue on a
   * transport. `destination`: one that does not answer. `connections`: the pool of the database.
   */
  readonly part: 'app' | 'store' | 'relay' | 'receiving' | 'destination' | 'connections'
  /** Of the app, the store, the transport or the destination. */
  readonly name: string
  readonly status: HealthStatus
  /** Why it is not ok, in words of Mersal's own, with at most the code of an error. */
  readonly reason?: string
}

/** How an app is. */
export interface AppHealth {
  /** The worst of its parts. */
  readonly status: HealthStatus
  /** False: the app has stopped, and only a new process helps. */
  readonly live: boolean
  /**
   * It has started and reaches its database. A broker that is away does not count: messages wait in
   * the outbox.
   */
  readonly ready: boolean
  readonly parts: readonly HealthPart[]
}

export interface HealthPorts<Tx> {
  readonly settings: Settings<Tx>
  readonly lifecycle: { readonly state: AppState }
  readonly relay: Pick<AppRelay, 'state' | 'condition'>
  /** Undefined for an app without a database. */
  readonly gate: Pick<StoreGate, 'open' | 'works'> | undefined
  /** What the app receives, by transport. */
  readonly receptions: () => readonly Reception[]
}

/** A database that nothing else asks is asked at most this often, in milliseconds. */
const PROBE_EVERY_MS = 5000
/** One call that fails may have met another one; a second one in a row tells. */
const FAILURES_THAT_TELL = 2
/** How long the answer to a claim or a settlement may take, in milliseconds. */
const PATIENCE_MS = 10_000
/** Most destinations that are named. */
const MOST_NAMED = 20

/** Knows how an app is. */
export class Health<Tx> {
  readonly #ports: HealthPorts<Tx>
  #probedAt = Number.NEGATIVE_INFINITY
  #probe: Promise<boolean> = Promise.resolve(true)

  constructor(ports: HealthPorts<Tx>) {
    this.#ports = ports
  }

  /** Never rejects. */
  async look(): Promise<AppHealth> {
    const { lifecycle } = this.#ports
    const running = lifecycle.state === 'running'
    const parts = [this.#app(), ...(running ? await this.#parts() : [])]
    const statuses = new Set(parts.map(({ status }) => status))
    const status = statuses.has('down') ? 'down' : statuses.has('degraded') ? 'degraded' : 'ok'
    return { status, live: lifecycle.state !== 'stopped', ready: status !== 'down', parts }
  }

  #app(): HealthPart {
    const { settings, lifecycle } = this.#ports
    const { state } = lifecycle
    const about = { part: 'app', name: settings.name } as const
    if (state === 'running') return { ...about, status: 'ok' }
    const reason = state === 'idle' ? 'it has not been started' : `it is ${state}`
    return { ...about, status: 'down', reason }
  }

  async #parts(): Promise<readonly HealthPart[]> {
    return [
      ...(await this.#store()),
      ...this.#relay(),
      ...this.#ports.receptions().map(receiving),
      ...this.#connections(),
      ...this.#destinations(),
    ]
  }

  async #store(): Promise<readonly HealthPart[]> {
    const { settings, gate, relay } = this.#ports
    if (gate === undefined && settings.storage === undefined) return []
    const name = settings.store?.name ?? 'database'
    const reason =
      (gate?.open === false ? AWAY : undefined) ??
      (relay.state === 'running' ? this.#whyNoAnswers() : await this.#whyNoProbe())
    return [verdict({ part: 'store', name }, 'down', reason)]
  }

  /** Claims and settlements ask the database again and again, so nothing else has to. */
  #whyNoAnswers(): string | undefined {
    const { settings, relay } = this.#ports
    const { claims, settleFailures, settleAskedAt } = relay.condition
    const { askedAt, answered, failures, code } = claims
    if (failures >= FAILURES_THAT_TELL) return `claims from the outbox fail (${code})`
    if (settleFailures >= FAILURES_THAT_TELL) return 'settling published messages fails'
    if (!answered) return 'it has not answered to a claim yet'
    const now = settings.clock.monotonic()
    return (
      silence('to a claim', now - (askedAt ?? now)) ??
      // With full hands nothing is claimed, and this is all that it is asked.
      silence('to a settlement', now - (settleAskedAt ?? now))
    )
  }

  async #whyNoProbe(): Promise<string | undefined> {
    const { gate, settings } = this.#ports
    if (gate === undefined) return undefined
    const now = settings.clock.monotonic()
    if (now - this.#probedAt >= PROBE_EVERY_MS) {
      this.#probedAt = now
      this.#probe = gate.works()
    }
    return (await this.#probe) ? undefined : AWAY
  }

  #relay(): readonly HealthPart[] {
    const { settings, relay } = this.#ports
    if (settings.storage === undefined || !settings.runRelay) return []
    const reason = relay.state === 'running' ? undefined : `it is ${relay.state}`
    return [verdict({ part: 'relay', name: settings.name }, 'degraded', reason)]
  }

  #connections(): readonly HealthPart[] {
    const { units, store } = this.#ports.settings
    if (units === undefined) return []
    const reason = units.shortage()
    return [verdict({ part: 'connections', name: store?.name ?? 'database' }, 'degraded', reason)]
  }

  #destinations(): readonly HealthPart[] {
    const away = [...this.#ports.relay.condition.away]
    const named = away.slice(0, MOST_NAMED).map((name) => destination(name))
    const rest = away.length - named.length
    return rest === 0 ? named : [...named, destination(`${rest} more`)]
  }
}

const AWAY = 'the database is away: receiving pauses until it is back'

function silence(what: string, ms: number): string | undefined {
  if (ms <= PATIENCE_MS) return undefined
  return `it has not answered ${what} for ${Math.round(ms / 1000)} s`
}

function receiving({ transport, trouble, begun }: Reception): HealthPart {
  const when = begun ? 'now' : 'yet'
  const reason = trouble && `it cannot receive ${when} (${errorCode(trouble)})`
  return verdict({ part: 'receiving', name: transport }, 'degraded', reason)
}

function destination(name: string): HealthPart {
  const reason = 'it does not answer; its messages wait in the outbox'
  return { part: 'destination', name, status: 'degraded', reason }
}

function verdict(
  about: Pick<HealthPart, 'part' | 'name'>,
  otherwise: HealthStatus,
  reason: string | undefined,
): HealthPart {
  return reason === undefined ? { ...about, status: 'ok' } : { ...about, status: otherwise, reason }
}
