import { checkOptions, checkSignal } from '../core/options.ts'
import { linkAbort } from '../lib/async/linked-abort.ts'
import { uuidv7 } from '../lib/uuid.ts'
import { newClaimCondition } from '../outbox/claim/claim-loop.ts'
import { createRelay } from '../outbox/relay.ts'
import type { Relay } from '../outbox/types.ts'
import { misuse } from './misuse.ts'
import type { Settings } from './settings/settings.ts'
import { boundedInside } from './unit/joining.ts'

/** What an app asks of its relay. */
export type AppRelay = Pick<
  Relay,
  'state' | 'condition' | 'start' | 'wake' | 'express' | 'drain' | 'stop'
>

/** The relay of an app, not started. It stays idle if no relay is to run here. */
export function appRelay<Tx>(settings: Settings<Tx>): AppRelay {
  const { name, store, storage, runRelay, transports, wakers, logger, clock, random } = settings
  if (storage === undefined || !runRelay) return idleRelay
  const newToken = (): string => uuidv7(clock.now())
  return createRelay({
    environment: { app: name, clock, random, logger, newToken },
    storage,
    transports,
    wakers,
    pauses: storage === store?.outbox ? store?.operations?.pauses : undefined,
    settings: settings.relay,
  })
}

/** For an app without an outbox, and for one whose relay runs elsewhere. */
const idleRelay: AppRelay = {
  state: 'idle',
  condition: {
    claims: newClaimCondition(),
    settleFailures: 0,
    settleAskedAt: undefined,
    away: new Set(),
  },
  start: () => {},
  wake: () => {},
  express: () => undefined,
  drain: () => Promise.resolve(),
  stop: () => Promise.resolve(true),
}

interface DrainPorts {
  readonly settings: Pick<Settings<never>, 'clock'> & { readonly storage: unknown }
  readonly relay: AppRelay
  readonly transactions: { outer(): { readonly open: boolean } | undefined }
}

/** Resolves when nothing is left that the relay can deliver now. */
export async function drained(
  { settings, relay, transactions }: DrainPorts,
  options: { readonly signal?: AbortSignal },
): Promise<void> {
  checkOptions('drain()', options, ['signal'])
  checkSignal('drain().signal', options.signal)
  if (settings.storage === undefined) return
  if (relay.state === 'idle') throw misuse('drain()', NO_RELAY)
  using link = linkAbort(options.signal)
  const inside = {
    what: 'drain()',
    clock: settings.clock,
    outer: transactions.outer(),
    abort: (reason: Error) => link.abort(reason),
  }
  await boundedInside(inside, () => relay.drain({ signal: link.signal }))
}

const NO_RELAY = 'no relay runs in this app: start() it, without outbox.runRelay: false'
