/**
 * Keeps the program from every database and broker but those of its place, whatever it has been
 * configured with.
 */
import { realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { commitPoints, type CrashPoint } from '../../testing/crash-points.ts'
import { packageOf } from '../clients.ts'
import type { LifePlan } from '../plan.ts'

export class Elsewhere extends Error {
  override readonly name = 'ElsewhereError'
}

function refuse(what: string): never {
  throw new Elsewhere(
    `${what} was about to be opened, which is not the place of this proof: open what place.folder, place.databaseUrl and place.brokerUrl say`,
  )
}

/** Before anything of the program is loaded. */
export function guard(plan: LifePlan, at: (point: CrashPoint) => void): void {
  guardSqlite(plan, at)
  guardBetterSqlite(plan)
  guardPostgres(plan)
  guardMysql(plan)
  guardRabbit(plan)
}

/** Throws unless the file is in the folder of the place. */
function checkFile(path: unknown, folder: string): void {
  const text = path instanceof URL ? path.pathname : String(path)
  if (text === ':memory:' || text === '') return
  const full = resolve(text.replace(/^file:(?:\/\/)?/, '').replace(/\?.*$/, ''))
  // The folder may be reached by a link, and the file need not be there yet.
  const real = join(realOf(dirname(full)), basename(full))
  if (!real.startsWith(`${realpathSync(folder)}${sep}`)) refuse(`the database ${full}`)
}

function realOf(folder: string): string {
  try {
    return realpathSync(folder)
  } catch {
    return folder
  }
}

type Constructor = new (path: unknown, ...more: unknown[]) => object

interface Sqlite {
  exec: (this: Sqlite, sql: string) => unknown
  prepare: (this: Sqlite, sql: string, ...more: unknown[]) => object
  readonly location: () => string | null
}

interface Watched {
  exec(sql: string): unknown
  prepare(sql: string): object
}

/** The class itself, since whoever has imported it before keeps it. */
function guardSqlite({ folder }: LifePlan, at: (point: CrashPoint) => void): void {
  const { prototype } = DatabaseSync as unknown as { prototype: Sqlite }
  const { exec, prepare } = prototype
  const known = new WeakSet<Sqlite>()
  const check = (database: Sqlite): void => {
    if (known.has(database)) return
    checkFile(database.location() ?? '', folder)
    known.add(database)
  }
  const watched = (database: Sqlite): Watched =>
    commitPoints(
      {
        exec: (sql: string) => exec.call(database, sql),
        prepare: (sql: string) => prepare.call(database, sql),
      },
      at,
    )
  prototype.exec = function (this: Sqlite, sql) {
    check(this)
    return isCommit(sql) ? watched(this).exec(sql) : exec.call(this, sql)
  }
  prototype.prepare = function (this: Sqlite, sql, ...more) {
    check(this)
    return isCommit(sql) ? watched(this).prepare(sql) : prepare.call(this, sql, ...more)
  }
}

const isCommit = (sql: unknown): boolean =>
  typeof sql === 'string' && /^\s*(?:commit|end)\b/i.test(sql)

function loaded(name: string, { file }: LifePlan): unknown {
  return packageOf(name, file) === undefined ? undefined : createRequire(file)(name)
}

function guardBetterSqlite(plan: LifePlan): void {
  const path = packageOf('better-sqlite3', plan.file)
  const Database = loaded('better-sqlite3', plan) as Constructor | undefined
  const entry = path === undefined ? undefined : createRequire(plan.file).cache[path]
  if (Database === undefined || entry === undefined) return
  entry.exports = new Proxy(Database, {
    construct(target, [file, ...more]: [unknown, ...unknown[]]) {
      checkFile(file, plan.folder)
      return new target(file, ...more)
    },
  })
}

const databaseIn = (url: string): string => decodeURIComponent(new URL(url).pathname.slice(1))
const isPostgres = (url: string): boolean => /^postgres(?:ql)?:/.test(url)
const isMysql = (url: string): boolean => /^(?:mysql|mariadb):/.test(url)

type Method = (this: object, ...given: unknown[]) => unknown

/** The method, after a look at the object that it belongs to. */
function checked(prototype: object, name: string, check: (target: object) => void): void {
  const methods = prototype as Record<string, Method>
  const method = methods[name]
  if (method === undefined) return
  methods[name] = function (this: object, ...given) {
    check(this)
    return Reflect.apply(method, this, given)
  }
}

function guardPostgres(plan: LifePlan): void {
  const pg = loaded('pg', plan) as { Client: { prototype: object } } | undefined
  if (pg === undefined) return
  const own = isPostgres(plan.databaseUrl) ? new URL(plan.databaseUrl) : undefined
  checked(pg.Client.prototype, 'connect', (client) => {
    const { database, host } = client as { database?: string; host?: string }
    if (own === undefined || database !== databaseIn(own.href) || !sameHost(host, own))
      refuse(`the PostgreSQL database '${database}' on '${host}'`)
  })
}

/** A socket has no host name in a URL. */
const sameHost = (host: string | undefined, own: URL): boolean =>
  own.hostname === '' || host === own.hostname

function guardMysql(plan: LifePlan): void {
  const mysql = loaded('mysql2', plan) as { Connection: { prototype: object } } | undefined
  if (mysql === undefined) return
  for (const name of ['query', 'execute'])
    checked(mysql.Connection.prototype, name, (connection) => {
      const { database } = (connection as { config: { database?: string } }).config
      if (!isMysql(plan.databaseUrl) || database !== databaseIn(plan.databaseUrl))
        refuse(`the MySQL database '${database}'`)
    })
}

function guardRabbit(plan: LifePlan): void {
  for (const name of ['amqplib', 'amqplib/callback_api']) {
    const client = loaded(name, plan) as { connect: Method } | undefined
    if (client === undefined) continue
    const { connect } = client
    client.connect = function (this: object, address, ...more) {
      if (plan.brokerUrl === undefined || vhostOf(address) !== vhostOf(plan.brokerUrl))
        refuse(`the vhost '${vhostOf(address)}' of RabbitMQ`)
      return Reflect.apply(connect, this, [address, ...more])
    }
  }
}

function vhostOf(address: unknown): string {
  if (typeof address !== 'string') return (address as { vhost?: string }).vhost ?? '/'
  const path = new URL(address).pathname
  return path === '' ? '/' : decodeURIComponent(path.slice(1))
}
