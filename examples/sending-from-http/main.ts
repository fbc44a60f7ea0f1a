/**
 * A web server that registers students. Row and event are written in one transaction, so the answer
 * 201 means that both exist, also if this process is killed right after it.
 *
 * `node examples/sending-from-http/main.ts` prints the answers to some requests.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type IncomingMessage, type Server, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { DatabaseSync } from 'node:sqlite'
import { Mersal, event } from '../../src/index.ts' // in your program: 'mersal'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'

export const StudentRegistered = event<{ studentId: number; name: string }>('students.registered')

export async function openRegistrar(folder: string): Promise<Mersal<DatabaseSync>> {
  const app = new Mersal({
    name: 'registrar',
    store: sqlite({ path: `${folder}/registrar.db` }),
    transport: sqliteQueue({ path: `${folder}/broker.db` }),
    sendOnly: true,
  })
  await app.start()
  await app.transaction(async (tx) =>
    tx.exec(
      'CREATE TABLE IF NOT EXISTS students (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)',
    ),
  )
  return app
}

/**
 * `POST /` with `{ "name": "..." }`: 201 with the id, 400 for a bad body, 409 for a name that is
 * taken.
 */
export function createRegistrarServer(app: Mersal<DatabaseSync>): Server {
  return createServer((request, response) => {
    answer(app, request).then(
      ({ status, body }) =>
        response
          .writeHead(status, { 'content-type': 'application/json' })
          .end(JSON.stringify(body)),
      () => response.writeHead(500).end(),
    )
  })
}

async function answer(
  app: Mersal<DatabaseSync>,
  request: IncomingMessage,
): Promise<{ status: number; body: object }> {
  const name = await readName(request)
  if (name === undefined) return { status: 400, body: { error: 'expected { "name": "..." }' } }
  return await app.transaction(async (tx, { publish }) => {
    const row = tx
      .prepare('INSERT INTO students (name) VALUES (?) ON CONFLICT DO NOTHING RETURNING id')
      .get(name)
    if (row === undefined) return { status: 409, body: { error: 'this name is taken' } }
    const studentId = Number(row['id'])
    await publish(StudentRegistered, { studentId, name }, { partitionKey: String(studentId) })
    return { status: 201, body: { studentId } }
  })
}

async function readName(request: IncomingMessage): Promise<string | undefined> {
  try {
    const { name } = JSON.parse(await text(request)) as { name?: unknown }
    return typeof name === 'string' && name !== '' ? name : undefined
  } catch {
    return undefined // no JSON object: the caller answers 400
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  // Somebody wants the event: without a queue for it, the relay would complain, and try again.
  const broker = sqliteQueue({ path: `${folder}/broker.db` })
  await broker.subscribe('mail', [StudentRegistered.name])
  await broker[Symbol.asyncDispose]()
  const app = await openRegistrar(folder)
  const server = createRegistrarServer(app)
  try {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    for (const body of ['{"name": "Ada"}', '{"name": "Ada"}', 'no JSON', '{"name": "Grace"}']) {
      const response = await fetch(url, { method: 'POST', body })
      process.stdout.write(`POST ${body}: ${response.status} ${await response.text()}\n`)
    }
  } finally {
    server.closeAllConnections()
    server.close()
    await app.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await main()
