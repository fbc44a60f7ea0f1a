import { MersalError } from '../../core/errors/errors.ts'
import type { OnceClaimed, OnceKey, OnceStore } from '../../core/records/once.ts'
import { invalidOption } from '../../core/options.ts'
import { linkAbort } from '../../lib/async/linked-abort.ts'
import { type AppState, appStopped } from '../lifecycle.ts'
import type { Settings } from '../settings/settings.ts'
import type { UnitSender } from '../types.ts'
import { boundedInside } from '../unit/joining.ts'
import type { Transactions } from '../unit/transactions.ts'
import { type CheckedRequest, checkRequest, type OnceRequest, type OnceResult } from './request.ts'
import { readResponse, writeResponse } from './response.ts'

export interface OncePorts<Tx> {
  readonly settings: Settings<Tx>
  readonly transactions: Pick<Transactions<Tx>, 'run' | 'outer'>
  /** Opens the store, once. */
  readonly open: () => Promise<void>
  readonly lifecycle: { readonly state: AppState }
}

type Work<Tx, Response> = (tx: Tx, sender: UnitSender) => Promise<Response>
type Kept = Extract<OnceClaimed, { readonly kind: 'kept' }>

/** Looks again after this time while another process runs the request, then ever later. */
const FIRST_PAUSE_MS = 10
const LONGEST_PAUSE_MS = 200
/** Shortest time to claim a key, for databases that cannot tell at once that it is taken. */
const LEAST_CLAIM_MS = 1000

/** The requests of one app that take effect once. */
export class Once<Tx> {
  readonly #ports: OncePorts<Tx>
  /** Requests that this process runs: a repeat waits for them without a connection. */
  readonly #running = new Map<string, Promise<void>>()
  #opening: Promise<OnceStore<Tx>> | undefined
  #opened: OnceStore<Tx> | undefined

  constructor(ports: OncePorts<Tx>) {
    this.#ports = ports
  }

  /** As `Mersal.once`. */
  async run<Response>(
    request: OnceRequest,
    work: Work<Tx, Response>,
  ): Promise<OnceResult<Response>> {
    const { clock, name } = this.#ports.settings
    const checked = checkRequest(name, request)
    if (typeof work !== 'function') throw invalidOption('once()', 'expected a function')
    const store = await this.#open()
    const deadline = clock.monotonic() + checked.waitMs
    const leftMs = (): number => deadline - clock.monotonic()
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      checked.signal?.throwIfAborted()
      const here = this.#running.get(nameOf(checked.key))
      if (here === undefined) {
        const claimMs = Math.max(leftMs(), LEAST_CLAIM_MS)
        const found = await this.#try(store, checked, work, claimMs)
        if (found !== 'running') return found
      }
      const left = leftMs()
      if (left <= 0) throw stillRunning(checked)
      await this.#pause(here, here === undefined ? Math.min(pauseMs, left) : left, checked.signal)
    }
  }

  /** Removes what was kept long enough, also by other processes. */
  async prune(limit: number, longerMs: number): Promise<number> {
    const store = this.#opened ?? (await this.#whereTableIs())
    return (await store?.prune({ limit, longerMs })) ?? 0
  }

  /** Programs that never call `once()` make no table, and may find that of another process. */
  async #whereTableIs(): Promise<OnceStore<Tx> | undefined> {
    const store = this.#ports.settings.store?.once
    if (store?.schema === undefined) return store
    const { current } = await store.schema.version()
    return current > 0 ? store : undefined
  }

  /** Makes the table, the first time. */
  async #open(): Promise<OnceStore<Tx>> {
    const { settings, transactions, lifecycle } = this.#ports
    const store = onceStoreOf(settings)
    const { state } = lifecycle
    if (state === 'stopping' || state === 'stopped') throw appStopped(settings.name, 'once()')
    if (this.#opened !== undefined) return this.#opened
    const outer = transactions.outer()
    const inside = { what: 'once()', clock: settings.clock, outer, abort: () => {} }
    return boundedInside(inside, () => (this.#opening ??= this.#openStore(store)))
  }

  async #openStore(store: OnceStore<Tx>): Promise<OnceStore<Tx>> {
    try {
      await this.#ports.open()
      await store.open()
      return (this.#opened = store)
    } catch (error) {
      this.#opening = undefined
      throw error
    }
  }

  /** `running`: another transaction has the key. */
  async #try<Response>(
    store: OnceStore<Tx>,
    request: CheckedRequest,
    work: Work<Tx, Response>,
    claimMs: number,
  ): Promise<OnceResult<Response> | 'running'> {
    const undo = new Error('the request has run, or runs elsewhere: nothing was done here')
    let found: OnceClaimed | undefined
    const over = Promise.withResolvers<void>()
    using link = linkAbort(request.signal)
    const unit = async (tx: Tx, sender: UnitSender): Promise<string> => {
      found = await this.#within(
        claimMs,
        () => store.claim(tx, request.key, request),
        () => link.abort(stillRunning(request)),
      )
      if (found.kind !== 'first') throw undo
      this.#running.set(nameOf(request.key), over.promise)
      const text = writeResponse(await work(tx, sender))
      await store.keep(tx, request.key, text)
      return text
    }
    try {
      const text = await this.#ports.transactions.run(unit, { signal: link.signal })
      return { response: readResponse(text) as Response, replayed: false }
    } catch (error) {
      if (error !== undo || found === undefined || found.kind === 'first') throw error
      return found.kind === 'running' ? 'running' : replay<Response>(request, found)
    } finally {
      // Whatever a repeat of the unit has found: an earlier try may have been the first one.
      const name = nameOf(request.key)
      if (this.#running.get(name) === over.promise) this.#running.delete(name)
      over.resolve()
    }
  }

  async #within<Result>(
    ms: number,
    work: () => Promise<Result>,
    late: () => void,
  ): Promise<Result> {
    const enough = new AbortController()
    void this.#ports.settings.clock.sleep(ms, enough.signal).then(() => {
      if (!enough.signal.aborted) late()
    })
    try {
      return await work()
    } finally {
      enough.abort('answered')
    }
  }

  /** Until the request here is over, the time is up, or the signal aborts. */
  async #pause(
    here: Promise<void> | undefined,
    ms: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    using link = linkAbort(signal)
    const time = this.#ports.settings.clock.sleep(ms, link.signal)
    await (here === undefined ? time : Promise.race([here, time]))
    link.abort('waited')
  }
}

const nameOf = ({ scope, key }: OnceKey): string => JSON.stringify([scope, key])

function onceStoreOf<Tx>({ store, storage, unitOfWork }: Settings<Tx>): OnceStore<Tx> {
  if (store?.once !== undefined && storage !== undefined && unitOfWork !== undefined)
    return store.once
  const text =
    store === undefined
      ? 'needs a database for its responses: give the app a store'
      : `the store '${store.name}' keeps no responses`
  throw invalidOption('once()', text)
}

function replay<Response>({ key, fingerprint }: CheckedRequest, kept: Kept): OnceResult<Response> {
  if (kept.fingerprint !== fingerprint) {
    const text =
      'once(): this key was used before, with another fingerprint: a key belongs to one request'
    throw new MersalError('MERSAL_ONCE_REUSED', text, { details: { key: key.key } })
  }
  if (kept.response === undefined) {
    const text =
      'once(): the work of this key has ended its own transaction, so that nobody knows its response: see what it has done, then delete its row'
    throw new MersalError('MERSAL_TRANSACTION_ENDED', text, { details: { key: key.key } })
  }
  return { response: readResponse(kept.response) as Response, replayed: true }
}

function stillRunning({ key, waitMs }: CheckedRequest): MersalError {
  const text = `once(): the request with this key is running, and did not end within ${waitMs} ms: repeat it later with the same key`
  return new MersalError('MERSAL_ONCE_RUNNING', text, { details: { key: key.key } })
}
