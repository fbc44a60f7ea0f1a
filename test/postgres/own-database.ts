import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { serverUrl } from './database.ts'

/** For programs that use the names that Mersal and PostgreSQL have by default. */
export async function ownDatabase(): Promise<{ readonly url: string } & AsyncDisposable> {
  const name = `mersal_own_${randomBytes(4).toString('hex')}`
  const server = new Client({ connectionString: serverUrl })
  await server.connect()
  await server.query(`CREATE DATABASE ${name}`)
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return {
    url: url.href,
    [Symbol.asyncDispose]: async () => {
      await server.query(`DROP DATABASE ${name} WITH (FORCE)`)
      await server.end()
    },
  }
}
