import { Mersal } from '../app/mersal.ts'
import { isName, nameRule } from '../core/messages/validation.ts'
import { checkLogger, checkNumber, checkOptions, invalidOption } from '../core/options.ts'
import type { Store } from '../core/store.ts'
import type { Logger } from '../core/telemetry.ts'
import type { Transport } from '../core/transport.ts'
import type { MonitoredApp } from '../http/monitoring.ts'
import { type RelayStore, servedStores, type Stores } from '../outbox/many-stores/relays-options.ts'
import type { Lock } from './access/gate.ts'
import { type Admission, checkRights, type Right } from './access/rights.ts'
import { checkBasePath, type Segments } from './http/base-path.ts'
import type { Mask } from './http/reply.ts'
import { sourceOfApp, sourceOfStore, type Source } from './sources.ts'

/** What the dashboard asks of a store; every `Store` is one. */
export type DashboardStore = RelayStore & Pick<Store<unknown>, 'admin' | 'sagas'>

/** Give `apps` or `stores`, and `access` or `token`. */
export interface DashboardOptions {
  /**
   * Apps of this process. The dashboard also shows how they are, and what they did lately. Default
   * none.
   */
  readonly apps?: readonly MonitoredApp[]
  /** Databases by name, as in `mersal.config.ts`; opened when they are first shown. Default none. */
  readonly stores?: Stores<DashboardStore>
  /** With `stores`: the broker, `default` in destinations. Default none. */
  readonly transport?: Transport
  /** With `stores`: further transports by name. Default none. */
  readonly bridges?: Readonly<Record<string, Transport>>
  /**
   * Queues of consumers on the broker that cannot be found otherwise, so that their dead letters
   * are shown. Default none.
   */
  readonly queues?: readonly string[]
  /**
   * Says who comes in, from the headers of a request, such as by the session of your program. It is
   * asked for the page, for each call, and again at least every five minutes while a page is open.
   * What it throws lets nobody in. Default none: give `token`.
   */
  readonly access?: (request: Request) => Admission | Promise<Admission>
  /** Whoever has this comes in. From 16 to 500 characters without spaces. Default none. */
  readonly token?: string
  /** What anybody may do beyond reading. Default none of them. */
  readonly allow?: readonly Right[]
  /**
   * Where it is, such as `/admin/mersal`. Default: where a framework has mounted it, else the root.
   */
  readonly path?: string
  /**
   * Origins from which changes are taken besides its own, where a proxy changes the host, such as
   * `https://admin.example.org`. Default none.
   */
  readonly origins?: readonly string[]
  /**
   * Names by which it is reached, such as `admin.example.org` and `localhost`, whatever the port.
   * Requests for others are refused. Needed where `access` lets in by the address or the network
   * of whoever asks: a page of somebody else, whose name is made to point here, would be let in
   * too. Default: any name.
   */
  readonly hosts?: readonly string[]
  /**
   * Most pages that are kept up to date at a time; others ask now and then. From 0 to 1,000.
   * Default 20.
   */
  readonly liveClients?: number
  /**
   * With `apps`: of how many messages the latest steps are kept in memory. From 0 to 100,000.
   * Default 2,000.
   */
  readonly remember?: number
  /**
   * Told why a request failed, which its client is not. Default: warnings and errors as JSON lines
   * on standard error. `false`: nothing is logged.
   */
  readonly logger?: Logger | false
}

const known = [
  'apps',
  'stores',
  'transport',
  'bridges',
  'queues',
  'access',
  'token',
  'allow',
  'path',
  'origins',
  'hosts',
  'liveClients',
  'remember',
  'logger',
] as const satisfies readonly (keyof DashboardOptions)[]

/** Options that have been checked. */
export interface DashboardParts {
  readonly sources: readonly Source[]
  readonly lock: Lock
  readonly allow: ReadonlySet<Right>
  /** Undefined: where it was mounted. */
  readonly base: Segments | undefined
  readonly origins: ReadonlySet<string>
  /** Undefined: any. */
  readonly hosts: ReadonlySet<string> | undefined
  readonly liveClients: number
  readonly remember: number
  readonly logger: Logger
  readonly mask: Mask
}

/** Throws `MERSAL_INVALID_OPTIONS`. */
export function checkDashboard(options: DashboardOptions): DashboardParts {
  checkOptions('dashboard()', options, known)
  return {
    sources: sourcesOf(options),
    lock: lockOf(options),
    allow: checkRights('dashboard().allow', options.allow),
    base: checkBasePath('dashboard().path', options.path),
    origins: checkOrigins(options.origins),
    hosts: checkHosts(options.hosts),
    liveClients: checkNumber('dashboard().liveClients', options.liveClients, limits.liveClients),
    remember: checkNumber('dashboard().remember', options.remember, limits.remember),
    logger: checkLogger('dashboard().logger', options.logger),
    mask: (text) => text,
  }
}

export const limits = {
  liveClients: { default: 20, min: 0, max: 1000 },
  remember: { default: 2000, min: 0, max: 100_000 },
} as const

function sourcesOf({ apps, stores, queues = [], ...shared }: DashboardOptions): readonly Source[] {
  if (!Array.isArray(queues) || !queues.every((queue) => isName(queue)))
    throw invalidOption('dashboard().queues', `expected a list of names, each with ${nameRule}`)
  if ((apps === undefined) === (stores === undefined))
    throw invalidOption('dashboard().apps', "give either 'apps', of this process, or 'stores'")
  if (stores !== undefined) {
    const { transport, bridges } = shared
    return servedStores(stores, { transport, bridges }, 'dashboard()').map((served) =>
      sourceOfStore(served, queues),
    )
  }
  for (const name of ['transport', 'bridges'] as const)
    if (shared[name] !== undefined)
      throw invalidOption(`dashboard().${name}`, "goes with 'stores'; apps have their own")
  if (!Array.isArray(apps) || apps.length === 0 || !apps.every((app) => app instanceof Mersal))
    throw invalidOption('dashboard().apps', 'expected a list of apps made by new Mersal()')
  const made = apps.map((app: Mersal<unknown>, index) =>
    // Queues of nobody here are shown once.
    sourceOfApp(app, index === 0 ? queues : []),
  )
  if (new Set(made.map(({ name }) => name)).size < made.length)
    throw invalidOption(
      'dashboard().apps',
      'has two apps of one name: show each of them by its own',
    )
  return made
}

function lockOf({ access, token }: DashboardOptions): Lock {
  if (access !== undefined && token !== undefined)
    throw invalidOption(
      'dashboard().token',
      "give either 'access' or 'token', so that one rule holds",
    )
  if (access !== undefined) {
    if (typeof access !== 'function')
      throw invalidOption('dashboard().access', 'expected a function that says who comes in')
    return { kind: 'access', access }
  }
  if (token === undefined)
    throw invalidOption(
      'dashboard().access',
      "is missing: give 'access', a function that says who comes in, or 'token'",
    )
  if (typeof token !== 'string' || !/^[\x21-\x7e]{16,500}$/.test(token))
    throw invalidOption(
      'dashboard().token',
      'expected 16 to 500 characters of ASCII without spaces',
    )
  return { kind: 'token', token }
}

function checkOrigins(given: unknown): ReadonlySet<string> {
  if (given === undefined) return new Set()
  const good = (one: unknown): one is string =>
    typeof one === 'string' && /^https?:\/\/[^/?#@\s]+$/.test(one) && URL.canParse(one)
  if (!Array.isArray(given) || !given.every(good))
    throw invalidOption(
      'dashboard().origins',
      "expected a list of origins such as 'https://admin.example.org', without a path",
    )
  return new Set(given.map((one) => new URL(one).origin))
}

function checkHosts(given: unknown): ReadonlySet<string> | undefined {
  if (given === undefined) return undefined
  const good = (one: unknown): one is string =>
    typeof one === 'string' && /^(?:[\w.-]+|\[[\da-f:.]+\])$/i.test(one)
  if (!Array.isArray(given) || given.length === 0 || !given.every(good))
    throw invalidOption(
      'dashboard().hosts',
      "expected a list of names such as 'admin.example.org', without a scheme and a port",
    )
  return new Set(given.map((one) => one.toLowerCase()))
}
