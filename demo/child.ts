/** A program of the demo from within: what it is told, where it stops, how it ends. */
import { readFileSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { type Mersal, runUntilSignal, type Transport } from '../src/index.ts'
import { nats } from '../src/nats.ts'
import { rabbitmq } from '../src/rabbitmq.ts'
import { sqliteQueue } from '../src/sqlite.ts'
import type { CrashPoint } from '../src/testing/crash-points.ts'
import { mysqlDatabase } from './places/mysql.ts'
import type { AppDatabase } from './places/place.ts'
import { postgresDatabase } from './places/postgres.ts'
import { sqliteDatabase } from './places/sqlite.ts'
import {
  type AppName,
  type ChildPlan,
  eventsExchange,
  HOLD_MS,
  PLAN_VARIABLE,
  type Registration,
  REPORT_FD,
} from './plan.ts'
import { reasonOf } from './view.ts'

export const plan: ChildPlan = JSON.parse(process.env[PLAN_VARIABLE] ?? '{}') as ChildPlan
let reached = 0

/** Stands still at the planned point, so that the parent can kill this process exactly there. */
export function stopHere(point: CrashPoint): void {
  if (plan.stop?.point !== point) return
  reached += 1
  if (reached !== plan.stop.nth) return
  writeSync(REPORT_FD, '!')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20_000)
  process.exit(70) // nobody came: the parent is gone
}

export function readCommands(): Registration[] {
  return JSON.parse(readFileSync(plan.commands, 'utf8')) as Registration[]
}

/**
 * Ends with the parent, even when that was killed: then the pipe to it closes. `onLine` gets what
 * the parent writes.
 */
export function endWithParent(onLine: (line: string) => void = () => {}): void {
  createInterface({ input: process.stdin })
    .on('line', onLine)
    .once('close', () => process.exit(0))
}

/**
 * The whole life of a program that is an app; exits with 1 and one line if the app cannot start.
 */
export async function live(app: Pick<Mersal<never>, 'start' | 'stop'>): Promise<never> {
  try {
    process.exit(await runUntilSignal(app))
  } catch (error) {
    endBecause(error)
  }
}

/** One line instead of a stack: that a server is away is a part of the story. */
export function endBecause(error: unknown): never {
  process.stderr.write(`  ${reasonOf(error)}\n`)
  process.exit(1)
}

/** Name of an app, and of its queue on this broker. */
export function appName(name: AppName): string {
  return `${plan.broker.prefix}${name}`
}

export function openTransport(): Transport {
  const { broker } = plan
  switch (broker.kind) {
    case 'sqlite':
      return sqliteQueue({ path: broker.path, visibilityMs: HOLD_MS, pollIntervalMs: 50 })
    case 'rabbitmq':
      return rabbitmq({
        url: broker.url,
        eventsExchange: eventsExchange(broker.prefix),
        logger: false,
      })
    case 'nats':
      return nats({ url: broker.url, prefix: broker.streams, ackWaitMs: HOLD_MS, logger: false })
    default:
      return broker satisfies never
  }
}

/** Runs the program of this app with its database. If it fails, the process ends with one line. */
export async function onDatabase(
  run: <Tx>(database: AppDatabase<Tx>) => Promise<void>,
): Promise<void> {
  const { database: place, app } = plan
  try {
    switch (place.kind) {
      case 'sqlite':
        return await run(sqliteDatabase(place, app))
      case 'postgres':
        return await run(postgresDatabase(place, app, endBecause))
      case 'mysql':
        return await run(mysqlDatabase(place, app, endBecause))
      default:
        return place satisfies never
    }
  } catch (error) {
    endBecause(error)
  }
}
