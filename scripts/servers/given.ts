/**
 * The servers of this machine that tests use. Each is looked for, and where it is missing that is
 * said loudly and its tests are skipped by name; with CI=true it is a failure.
 */
import { existsSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { Client } from 'pg'
import { canaryPassword } from './password.ts'
import { clusterProblem } from './postgres.ts'
import { isPresent } from './present.ts'

/**
 * The server that the tests use; each test has a schema of its own on it. Its password may never be
 * printed.
 */
export const serverUrl: string =
  process.env['MERSAL_TEST_POSTGRES_URL'] ??
  `postgres://postgres:${canaryPassword}@127.0.0.1:5432/test`

async function reach(): Promise<string | undefined> {
  const client = new Client({ connectionString: serverUrl, connectionTimeoutMillis: 3000 })
  try {
    await client.connect()
    await client.end()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/**
 * Whether a PostgreSQL server answers. If not, says so loudly and the tests that need one are
 * skipped by name; in CI that is a failure.
 */
export async function serverAnswers(): Promise<boolean> {
  const problem = await reach()
  return isPresent(
    problem &&
      `NO POSTGRESQL SERVER: ${problem}. Start one on 127.0.0.1:5432 or set MERSAL_TEST_POSTGRES_URL`,
  )
}

function canConnect(port: number): Promise<boolean> {
  const socket = connectSocket({ host: '127.0.0.1', port })
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  }).finally(() => socket.destroy()) as Promise<boolean>
}

function hasTools(): boolean {
  const folders = (process.env['PATH'] ?? '').split(':')
  return folders.some((folder) => existsSync(join(folder, 'rabbitmqctl')))
}

export async function rabbitIsHere(): Promise<boolean> {
  const isHere = hasTools() && (await canConnect(5672))
  const problem = 'NO RABBITMQ SERVER at 127.0.0.1:5672, or no rabbitmqctl in PATH'
  return isPresent(isHere ? undefined : problem)
}

/** Whether the server's programs are on this machine; if not, says so loudly, and fails in CI. */
export function clusterAvailable(): boolean {
  return isPresent(clusterProblem()?.toUpperCase())
}
