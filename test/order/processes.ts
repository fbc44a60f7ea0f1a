import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { testDatabase } from '../postgres/database.ts'
import { Move, type OrderPlan } from './worker.ts'

type Database = Awaited<ReturnType<typeof testDatabase>>

const worker = fileURLToPath(new URL('worker.ts', import.meta.url))

/** Resolves when it receives. */
export async function startWorker(plan: OrderPlan): Promise<ChildProcess> {
  const child = spawn(process.execPath, [worker, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return child
}

export async function endWorker(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill(signal)
  await exit
}

/** A message of the workers: the number of a move of an account, which is its key. */
export function moveOf(
  queue: string,
  account: string,
  number: number,
  poison = false,
): OutgoingMessage {
  return {
    id: randomUUID(),
    type: Move.name,
    headers: { 'content-type': 'application/json', 'partition-key': account },
    body: new TextEncoder().encode(JSON.stringify({ account, number, poison })),
    to: { transport: 'default', kind: 'queue', name: queue },
    partitionKey: account,
  }
}

/** Where the workers write what they have done and tried. */
export async function makeTables(database: Database): Promise<void> {
  const { schema } = database
  await database.query(
    `create table ${schema}.effects (account text, number int, earlier int, process int, primary key (account, number))`,
  )
  await database.query(`create table ${schema}.tries (account text, number int)`)
}

export async function countEffects(database: Database): Promise<number> {
  const [row] = await database.query(`select count(*) as n from ${database.schema}.effects`)
  return Number(row?.['n'])
}
