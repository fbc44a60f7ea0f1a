import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { clientOf, type PlainClient } from '../clients.ts'

/** Where one trial takes place. */
export interface Scratch extends AsyncDisposable {
  readonly folder: string
  readonly databaseUrl: string
  /** Resolves when no connection of a killed process is left, so that its fate is certain. */
  settled(): Promise<void>
}

/** Makes places, and removes each of them with all that is in it. */
export interface ScratchMaker extends AsyncDisposable {
  make(): Promise<Scratch>
}

/** How long the server may take to notice that a process has died. */
const LONGEST_GOODBYE_MS = 20_000

async function folderOf(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'mersal-prove-'))
}

const remove = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true })

/** Only files. */
export function scratchFiles(): ScratchMaker {
  return {
    async make() {
      const folder = await folderOf()
      return {
        folder,
        databaseUrl: `sqlite:${join(folder, 'app.db')}`,
        settled: () => Promise.resolve(),
        [Symbol.asyncDispose]: () => remove(folder),
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

interface Dialect {
  readonly create: (name: string) => string
  readonly drop: (name: string) => string
  /** Connections to it. */
  readonly connected: (name: string) => string
}

const postgres: Dialect = {
  create: (name) => `create database ${name}`,
  drop: (name) => `drop database if exists ${name} with (force)`,
  connected: (name) => `select 1 from pg_stat_activity where datname = '${name}'`,
}
const mysql: Dialect = {
  create: (name) => `create database ${name}`,
  drop: (name) => `drop database if exists ${name}`,
  connected: (name) => `select 1 from information_schema.processlist where db = '${name}'`,
}

/** Databases of their own on the server of this address. `file`: whose project has the client. */
export async function scratchDatabases(url: string, file: string): Promise<ScratchMaker> {
  const server = await clientOf(url, file)
  const dialect = url.startsWith('postgres') ? postgres : mysql
  let made = 0
  return {
    async make() {
      const name = `mersal_prove_${process.pid}_${Date.now().toString(36)}_${(made += 1)}`
      await server.query(dialect.create(name)).catch((cause: unknown) => {
        throw new Error(
          `no database for the proof could be made on the server of MERSAL_PROVE_DATABASE_URL; its user needs the right to create databases`,
          { cause },
        )
      })
      const own = new URL(url)
      own.pathname = `/${name}`
      const folder = await folderOf()
      return {
        folder,
        databaseUrl: own.href,
        settled: () => noneConnected(server, dialect.connected(name)),
        [Symbol.asyncDispose]: async () => {
          await server.query(dialect.drop(name))
          await remove(folder)
        },
      }
    },
    [Symbol.asyncDispose]: () => server.end(),
  }
}

async function noneConnected(server: PlainClient, connected: string): Promise<void> {
  const until = performance.now() + LONGEST_GOODBYE_MS
  while ((await server.query(connected)).length > 0) {
    if (performance.now() > until)
      throw new Error('the server keeps a connection of a process that was killed')
    await sleep(20)
  }
}
