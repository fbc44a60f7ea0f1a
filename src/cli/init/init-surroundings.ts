import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { findPackage } from '../config/clients.ts'
import { brokerVariables } from '../config/env-config.ts'
import { CommandError } from '../exit.ts'

/** What a folder says about the app that is to be written in it. */
export interface Found {
  readonly store: 'sqlite' | 'postgres'
  readonly transport: 'sqlite' | 'postgres' | 'rabbitmq'
  readonly ending: 'ts' | 'mts' | 'js' | 'mjs'
  readonly typescript: boolean
  /** Name of the variable with the address of the broker. */
  readonly brokerVariable: string
  /** Use the library better-sqlite3, which is there, instead of the one of Node. */
  readonly betterSqlite: boolean
  /** Packages to install. */
  readonly missing: readonly string[]
  /** Variables that the app will read and that are not set. */
  readonly unset: readonly string[]
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
  const store = asked.store ?? (isPostgres(env) || wanted('pg') ? 'postgres' : 'sqlite')
  const brokerVariable = brokerVariables.find(isSet) ?? brokerVariables[0]
  const transport =
    asked.transport ?? (isSet(brokerVariable) || wanted('amqplib') ? 'rabbitmq' : store)
  const clients = [
    ...(store === 'postgres' || transport === 'postgres' ? ['pg'] : []),
    ...(transport === 'rabbitmq' ? ['amqplib'] : []),
  ]
  return {
    store,
    transport,
    ending: ending(typescript, manifest.type === 'module'),
    typescript,
    brokerVariable,
    betterSqlite:
      store === 'sqlite' &&
      wanted('better-sqlite3') &&
      Number.parseInt(installed('better-sqlite3') ?? '0', 10) >= BETTER_SQLITE,
    missing: ['mersal', ...clients].filter((name) => installed(name) === undefined),
    unset: [
      ...(clients.includes('pg') ? ['DATABASE_URL'] : []),
      ...(transport === 'rabbitmq' ? [brokerVariable] : []),
    ].filter((name) => !isSet(name)),
  }
}

function isPostgres(env: Env): boolean {
  return /^postgres(?:ql)?:\/\//.test(env['DATABASE_URL'] ?? '')
}

/** Files that are modules whatever package.json says. */
function ending(typescript: boolean, module: boolean): Found['ending'] {
  if (typescript) return module ? 'ts' : 'mts'
  return module ? 'js' : 'mjs'
}
