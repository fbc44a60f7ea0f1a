import { afterEach } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import type {
  ClaimRequest,
  ClaimedMessage,
  OutboxStorage,
  Settlement,
} from '../../../src/core/outbox.ts'
import type { Logger } from '../../../src/core/telemetry.ts'
import type { PublishOptions, PublishOutcome, Transport } from '../../../src/core/transport.ts'
import { createRelay } from '../../../src/outbox/relay.ts'
import { type RelayOptions, relaySettings } from '../../../src/outbox/options.ts'
import type { Relay, RelayPorts } from '../../../src/outbox/types.ts'
import { type MemoryTransaction, memoryStore } from '../../../src/stores/memory.ts'
import { type ManualClock, manualClock } from '../../../src/testing/manual-clock.ts'

export const confirmed: PublishOutcome = { kind: 'confirmed' }
export const unknown: PublishOutcome = { kind: 'unknown', error: new Error('no answer') }
export const unavailable: PublishOutcome = {
  kind: 'unavailable',
  error: new Error('connection refused'),
}
export const refusedOnce: PublishOutcome = {
  kind: 'refused',
  reason: 'refused',
  error: new Error('not now'),
  permanent: false,
}
export const refusedForGood: PublishOutcome = {
  kind: 'refused',
  reason: 'unroutable',
  error: new Error('no queue'),
  permanent: true,
}

/** One message that the relay has handed to the transport. */
export interface Published {
  readonly message: OutgoingMessage
  readonly signal: AbortSignal | undefined
  readonly withdraw: AbortSignal | undefined
  answered: boolean
  readonly answer: (outcome: PublishOutcome) => void
}

/** A transport that a test answers by hand, or by `behaviour`. */
export interface TestTransport extends Transport {
  readonly published: Published[]
  /** The ids of each call of `publish`. */
  readonly calls: string[][]
  behaviour: ((message: OutgoingMessage, time: number) => PublishOutcome | undefined) | undefined
  features: Transport['features']
}

export function testTransport(ordering: 'none' | 'per-key' = 'none'): TestTransport {
  const tries = new Map<string, number>()
  const transport: TestTransport = {
    name: 'test',
    features: { ordering, maxMessageBytes: 1000 },
    published: [],
    calls: [],
    behaviour: () => confirmed,
    publish(messages: readonly OutgoingMessage[], options?: PublishOptions) {
      transport.calls.push(messages.map(({ id }) => id))
      return messages.map((message) => {
        const { promise, resolve } = Promise.withResolvers<PublishOutcome>()
        const entry: Published = {
          message,
          signal: options?.signal,
          withdraw: options?.withdraw,
          answered: false,
          answer(outcome) {
            entry.answered = true
            resolve(outcome)
          },
        }
        transport.published.push(entry)
        const time = (tries.get(message.id) ?? 0) + 1
        tries.set(message.id, time)
        const outcome = transport.behaviour?.(message, time)
        if (outcome !== undefined) entry.answer(outcome)
        return promise
      })
    },
    subscribe: () => Promise.resolve(),
    consume: () => Promise.reject(new Error('not part of this test')),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
  return transport
}

export interface LogLine {
  readonly level: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly message: string
}

export interface Setup {
  readonly clock: ManualClock
  readonly store: ReturnType<typeof memoryStore>
  readonly transport: TestTransport
  readonly claims: ClaimRequest[]
  readonly settlements: (readonly Settlement[])[]
  /** How often the relay has asked which rows fall due next, and for how many. */
  readonly questions: number[]
  readonly log: LogLine[]
  readonly relay: Relay
  /** May be replaced: what the relay calls. */
  readonly hooks: {
    beforeClaim?: () => Promise<void> | void
    afterClaim?: () => Promise<void> | void
    beforeSettle?: () => Promise<void> | void
    beforeRenew?: () => Promise<void> | void
    beforeUpcoming?: () => Promise<void> | void
    afterUpcoming?: () => Promise<void> | void
  }
  readonly add: (...messages: readonly OutgoingMessage[]) => Promise<void>
  /** A unit in the express lane, up to its commit. */
  readonly addExpress: (
    token: string,
    graceMs: number,
    ...messages: readonly OutgoingMessage[]
  ) => Promise<readonly ClaimedMessage[]>
  readonly sent: () => string[]
}

export function setup(
  options: RelayOptions = {},
  more: Partial<RelayPorts> & {
    readonly transport?: TestTransport
    readonly clock?: ManualClock
  } = {},
): Setup {
  const { transport = testTransport(), clock = manualClock(), ...ports } = more
  const store = memoryStore({ clock, pause: () => Promise.resolve() })
  const claims: ClaimRequest[] = []
  const settlements: (readonly Settlement[])[] = []
  const questions: number[] = []
  const log: LogLine[] = []
  const hooks: Setup['hooks'] = {}
  const storage: Pick<OutboxStorage<never>, 'claim' | 'settle' | 'renew' | 'waiting'> = {
    claim: async (request) => {
      claims.push(request)
      await hooks.beforeClaim?.()
      const claimed = await store.outbox.claim(request)
      await hooks.afterClaim?.()
      return claimed
    },
    settle: async (list) => {
      settlements.push(list)
      await hooks.beforeSettle?.()
      return store.outbox.settle(list)
    },
    renew: async (claims, options) => {
      await hooks.beforeRenew?.()
      await store.outbox.renew?.(claims, options)
    },
    waiting: {
      async upcoming(options) {
        questions.push(options.limit)
        await hooks.beforeUpcoming?.()
        const rows = await store.outbox.waiting?.upcoming(options)
        await hooks.afterUpcoming?.()
        return rows ?? []
      },
    },
  }
  let tokens = 0
  const relay = createRelay({
    environment: {
      app: 'test',
      logger: recorder(log),
      clock,
      random: () => 0.5,
      newToken: () => `token-${++tokens}`,
    },
    storage,
    transports: new Map([['default', transport]]),
    wakers: store.wakers,
    settings: relaySettings(options),
    ...ports,
  })
  const add = async (...messages: readonly OutgoingMessage[]): Promise<void> => {
    await store.unitOfWork(async (tx) => {
      await store.outbox.save(tx, messages)
    })
  }
  const addExpress = (
    token: string,
    graceMs: number,
    ...messages: readonly OutgoingMessage[]
  ): Promise<readonly ClaimedMessage[]> =>
    store.unitOfWork(async (tx: MemoryTransaction) => {
      const saved = await store.outbox.save(tx, messages, { express: { token, graceMs } })
      return saved.flatMap((row, index) =>
        row.kind === 'born-claimed'
          ? [
              {
                message: messages[index] as OutgoingMessage,
                position: row.position,
                attempt: 0,
                token,
              },
            ]
          : [],
      )
    })
  const sent = (): string[] =>
    transport.published.filter(({ answered }) => answered).map(({ message }) => message.id)
  return {
    clock,
    store,
    transport,
    claims,
    settlements,
    questions,
    log,
    relay,
    hooks,
    add,
    addExpress,
    sent,
  }
}

export function recorder(log: LogLine[]): Logger {
  const at =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void => {
      log.push({ level, fields, message })
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

export function message(
  id: string,
  more: {
    readonly key?: string
    readonly to?: string
    readonly transport?: string
    readonly delayMs?: number
  } = {},
): OutgoingMessage {
  const to = {
    transport: more.transport ?? 'default',
    kind: 'queue',
    name: more.to ?? 'q',
  } as const
  const delay = more.delayMs === undefined ? {} : { delayMs: more.delayMs }
  const base = { id, type: 'thing', headers: {}, body: new Uint8Array([1]), to, ...delay }
  return more.key === undefined ? base : { ...base, partitionKey: more.key }
}

/** Lets everything run that is not waiting for time. Fails when the condition does not come. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 500; turn++) {
    if (condition()) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error(`did not happen: ${what}`)
}

/** Lets everything run that is not waiting for time. */
export async function calm(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Moves time in small steps until the condition holds. Returns the milliseconds that went by. */
export async function pass(
  clock: ManualClock,
  condition: () => boolean,
  most: number,
  what: string,
): Promise<number> {
  for (let ms = 0; ms <= most; ms += 10) {
    await calm()
    if (condition()) return ms
    await clock.advance(10)
  }
  throw new Error(`did not happen within ${most} ms: ${what}`)
}

/** Gives the tests of a file a started relay each, and stops it afterwards. */
export function relays(): { readonly start: typeof setup; readonly keep: (made: Setup) => Setup } {
  let made: Setup[] = []
  afterEach(async () => {
    for (const { relay, clock } of made) {
      const stopped = relay.stop({ graceMs: 10 })
      await clock.advance(20)
      await stopped
    }
    made = []
  })
  const keep = (setup: Setup): Setup => {
    made.push(setup)
    return setup
  }
  const start = (...given: Parameters<typeof setup>): Setup => {
    const found = keep(setup(...given))
    found.relay.start()
    return found
  }
  return { start, keep }
}

export const ids = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `m${index}`)
