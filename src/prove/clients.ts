import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { packageName } from '../lib/text.ts'

type Rows = readonly Readonly<Record<string, unknown>>[]

/** A plain connection to a database on a server. */
export interface PlainClient {
  query(sql: string): Promise<Rows>
  end(): Promise<void>
}

interface PgClient {
  connect(): Promise<unknown>
  query(sql: string): Promise<{ readonly rows: Rows }>
  end(): Promise<void>
  on(event: 'error', listener: () => void): unknown
}

interface MysqlClient {
  query(sql: string): Promise<readonly [Rows, unknown]>
  end(): Promise<void>
}

/** The package as it is installed next to this file; undefined if it is not. */
export function packageOf(name: string, file: string): string | undefined {
  try {
    return createRequire(file).resolve(name)
  } catch {
    return undefined
  }
}

async function load(name: string, file: string): Promise<unknown> {
  const path = packageOf(name, file)
  if (path === undefined)
    throw new Error(
      `the package '${packageName(name)}' is not installed here: npm install ${packageName(name)}`,
    )
  const loaded = (await import(pathToFileURL(path).href)) as { readonly default?: unknown }
  return loaded.default ?? loaded
}

/** Connects with the client of the project. */
export async function clientOf(url: string, file: string): Promise<PlainClient> {
  if (/^postgres(?:ql)?:/.test(url)) {
    const { Client } = (await load('pg', file)) as { Client: new (options: object) => PgClient }
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
    // A server that goes away is told by the next query.
    client.on('error', () => undefined)
    await client.connect()
    return { query: async (sql) => (await client.query(sql)).rows, end: () => client.end() }
  }
  const { createConnection } = (await load('mysql2/promise', file)) as {
    createConnection: (options: object) => Promise<MysqlClient>
  }
  const uri = url.replace(/^mariadb:/, 'mysql:')
  const connection = await createConnection({ uri, connectTimeout: 10_000 })
  return {
    query: async (sql) => (await connection.query(sql))[0],
    end: () => connection.end(),
  }
}
