import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  isBroker,
  storeAdapters,
  type StoreName,
  storeNames,
  type StoreAdapter,
  type TransportAdapter,
  transportAdapters,
  type TransportName,
  transportNames,
  variableSet,
} from '../adapters.ts'
import { findPackage } from '../config/clients.ts'
import { CommandError } from '../exit.ts'

/** What a folder says about the app that is to be written in it. */
export interface Found {
  readonly store: StoreName
  readonly transport: TransportName
  readonly ending: 'ts' | 'mts' | 'js' | 'mjs'
  readonly typescript: boolean
  /** What the app will read from the environment. */
  readonly addresses: readonly Address[]
  /** Use the library better-sqlite3, which is there, instead of the one of Node. */
  readonly betterSqlite: boolean
  /** Packages to install. */
  readonly missing: readonly string[]
  /** Those that are not set. */
  readonly unset: readonly Address[]
}

export interface Address {
  readonly variable: string
  /** How it looks, such as `amqp://…`. */
  readonly shown: string
  /** Of a broker: the configuration works without it, for verbs that look at the database. */
  readonly broker: boolean
}

export interface Asked {
  readonly store: Found['store'] | undefined
  readonly transport: Found['transport'] | undefined
}

type Env = Readonly<Record<string, string | undefined>>

interface Manifest {
  readonly type?: unknown
  readonly dependencies?: Readonly<Record<string, unknown>>
  readonly devDependencies?: Readonly<Record<string, unknown>>
}

function manifestIn(folder: string): Manifest {
  const path = join(folder, 'package.json')
  if (!existsSync(path)) return {}
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) ?? {}) as Manifest
  } catch {
    throw new CommandError('package.json is not JSON; fix it first')
  }
}

/** Versions of better-sqlite3 before this one cannot be used. */
const BETTER_SQLITE = 13

export function lookAround(folder: string, env: Env, asked: Asked): Found {
  const manifest = manifestIn(folder)
  const listed = { ...manifest.dependencies, ...manifest.devDependencies }
  const isSet = (name: string): boolean => (env[name] ?? '') !== ''
  const installed = (name: string): string | undefined => findPackage(name, folder)?.version
  const wanted = (name: string): boolean => name in listed
  const typescript = existsSync(join(folder, 'tsconfig.json')) || wanted('typescript')
  const store = asked.store ?? storeFor(env, wanted)
  const transport = asked.transport ?? brokerFor(env, wanted) ?? store
  const adapters = [storeAdapters[store], transportAdapters[transport]]
  checkAddress(store, transport)
  const addresses = addressesOf(env, store, transport)
  const clients = new Set(adapters.flatMap(({ packages }) => packages))
  return {
    store,
    transport,
    ending: ending(typescript, manifest.type === 'module'),
    typescript,
    betterSqlite:
      store === 'sqlite' &&
      wanted('better-sqlite3') &&
      Number.parseInt(installed('better-sqlite3') ?? '0', 10) >= BETTER_SQLITE,
    missing: ['mersal', ...clients].filter((name) => installed(name) === undefined),
    addresses,
    unset: addresses.filter(({ variable }) => !isSet(variable)),
  }
}

/** Two kinds of database have no address in common. */
function checkAddress(store: StoreName, transport: TransportName): void {
  const [first, second] = [storeAdapters[store], transportAdapters[transport]]
  if (first.client === undefined || second.client === undefined || first.shown === second.shown)
    return
  const [variable = ''] = second.variables
  throw new CommandError(
    `--store ${store} --transport ${transport}: both would have their address in ${variable}; give one of them, or write the configuration yourself`,
  )
}

/** The database first. What has a client needs its address, and so does a broker. */
function addressesOf(env: Env, store: StoreName, transport: TransportName): readonly Address[] {
  const found = new Map<string, Address>()
  const note = (adapter: StoreAdapter | TransportAdapter, broker: boolean): void => {
    const variable = variableSet(env, adapter) ?? adapter.variables[0] ?? ''
    if (broker || adapter.client !== undefined)
      found.set(variable, { variable, shown: adapter.shown, broker })
  }
  note(storeAdapters[store], false)
  note(transportAdapters[transport], isBroker(transportAdapters[transport]))
  return [...found.values()]
}

type Wanted = (name: string) => boolean

/** The last of the stores needs nothing, so it is for those who have nothing. */
function storeFor(env: Env, wanted: Wanted): StoreName {
  const found = storeNames.find((name) => {
    const { fits, packages } = storeAdapters[name]
    return packages.some(wanted) || (packages.length > 0 && fits.test(env['DATABASE_URL'] ?? ''))
  })
  return found ?? 'sqlite'
}

function brokerFor(env: Env, wanted: Wanted): TransportName | undefined {
  return transportNames.find((name) => {
    const adapter = transportAdapters[name]
    return (
      isBroker(adapter) &&
      (variableSet(env, adapter) !== undefined || adapter.packages.some(wanted))
    )
  })
}

/** Files that are modules whatever package.json says. */
function ending(typescript: boolean, module: boolean): Found['ending'] {
  if (typescript) return module ? 'ts' : 'mts'
  return module ? 'js' : 'mjs'
}
