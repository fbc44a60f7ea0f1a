import type { JoiningClient } from './flight/client.ts'
import type { Prepared } from './flight/riders.ts'

/** Tags of statements after which the server no longer knows what was prepared. */
const FORGETS = /^D(?:ISCARD ALL|EALLOCATE)/

/** A unit on a client, as its statements and its answers see it. */
export interface UnitOnClient {
  /** Takes what was given to `query` of the client. */
  take(given: unknown[]): unknown
  /** The client says that it is in a transaction, although the server has not been asked yet. */
  readonly pretends: boolean
  /** The server is ready for the next query. */
  onReady(): void
  /** The server has done something, whoever had asked for it. */
  onTag(tag: string): void
}

/**
 * What stays on a client once a unit has had it: as long as it has no unit, every call goes to the
 * client's own functions. To put it on for each unit and to take it off again would make the client
 * slow for everybody.
 */
export interface ClientHook {
  unit: UnitOnClient | undefined
  readonly prepared: Prepared
  /** Sends past the unit, but not past whoever else has wrapped the client. */
  readonly send: (...given: unknown[]) => unknown
}

type Name = 'query' | 'getTransactionStatus'
type Call<Of extends Name> = JoiningClient[Of]

interface Installed extends ClientHook {
  /** The function that is on the client, of those that were put there. */
  outermost: Call<'query'> | undefined
  /** What that one stands for. */
  inner: () => Call<'query'>
}

const hooks = new WeakMap<object, Installed>()
/** Functions that were put on clients, and what each stands for. */
const put = new WeakMap<object, () => Call<'query'>>()
const statuses = new WeakSet<object>()

/**
 * The hook of this client. Others may have wrapped the functions of the client, before or since:
 * what the hook sends passes theirs.
 */
export function hookOf(client: JoiningClient): ClientHook {
  let hook = hooks.get(client)
  if (hook === undefined) {
    hook = listening(client)
    hooks.set(client, hook)
  }
  if (hook.outermost !== client.query) hookQuery(client, hook)
  if (!statuses.has(client.getTransactionStatus)) hookStatus(client, hook)
  return hook
}

function listening(client: JoiningClient): Installed {
  const hook: Installed = {
    unit: undefined,
    prepared: new Set(),
    outermost: undefined,
    inner: () => client.query,
    send: (...given) => hook.inner().apply(client, given),
  }
  client.connection.on('commandComplete', ({ text }) => {
    if (FORGETS.test(text)) hook.prepared.clear()
    hook.unit?.onTag(text)
  })
  client.connection.on('readyForQuery', () => hook.unit?.onReady())
  return hook
}

function hookQuery(client: JoiningClient, hook: Installed): void {
  const known = put.get(client.query)
  const inner = known ?? standingFor(client, 'query')
  if (known === undefined) {
    const hooked: Call<'query'> = (...given) =>
      // One that was wrapped is called by its wrapper, when the outermost one has taken the call.
      hook.unit === undefined || hook.outermost !== hooked
        ? inner().apply(client, given)
        : hook.unit.take(given)
    put.set(hooked, inner)
    client.query = hooked
  }
  hook.outermost = client.query
  hook.inner = inner
}

function hookStatus(client: JoiningClient, hook: Installed): void {
  const inner = standingFor(client, 'getTransactionStatus')
  const hooked: Call<'getTransactionStatus'> = () => {
    const said = inner().call(client)
    return said === 'I' && hook.unit?.pretends === true ? 'T' : said
  }
  statuses.add(hooked)
  client.getTransactionStatus = hooked
}

/** A function of the client, or of its class: that one may be changed later. */
function standingFor<Of extends Name>(client: JoiningClient, name: Of): () => Call<Of> {
  const call = client[name]
  if (Object.hasOwn(client, name)) return () => call
  const prototype = Object.getPrototypeOf(client) as JoiningClient
  return () => prototype[name]
}
