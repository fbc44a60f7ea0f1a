import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clusterAvailable } from '../postgres/cluster.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'
import { HELD } from './postgres-relays/faults.ts'
import { openPlace, type Outcome, type Place, runRelays } from './postgres-relays/run.ts'

/** `RELAYS_MESSAGES=200000` for a thorough look, with its figures on standard output. */
const MESSAGES = Number(process.env['RELAYS_MESSAGES'] ?? 6000)
const SEED = Number(process.env['RELAYS_SEED'] ?? 1)
/** Bugs show on few messages as well, and after short claims. */
const SMALL = { messages: 2000, claimMs: 5000 }

const present = clusterAvailable() && (await rabbitIsHere())

/**
 * What a run must have had in it to prove anything. The faults themselves throw when they do not
 * land.
 */
function expectValid({ written, findings, faults, stale }: Outcome): void {
  expect(written.rolledBack).toBeGreaterThan(0)
  expect(written.savepointsUndone).toBeGreaterThan(0)
  expect(written.savepointsKept).toBeGreaterThan(0)
  expect(findings.passedLate).toBeGreaterThan(0)
  expect(faults.kill.held.length).toBeGreaterThanOrEqual(HELD)
  expect(faults.stop.held.length).toBeGreaterThanOrEqual(HELD)
  expect(faults.stop.heldByOthers).toBeGreaterThan(0)
  expect(faults.stop.settledLate).toBeGreaterThan(0)
  expect(stale).toBeGreaterThan(0)
}

function report({ findings, written, faults, stale, seconds }: Outcome): void {
  const { kill, stop, termination } = faults
  const short = {
    kill: { ...kill, held: kill.held.length },
    stop: { ...stop, held: stop.held.length },
    termination,
  }
  process.stdout.write(
    `${JSON.stringify({ findings, written, faults: short, stale, seconds }, null, 2)}\n`,
  )
}

let place: Place

beforeAll(async () => {
  if (present) place = await openPlace()
})
afterAll(async () => {
  if (present) await place[Symbol.asyncDispose]()
})

describe.skipIf(!present)(
  'P1 P2 P5 P6 P7 P10: four relay processes on PostgreSQL and RabbitMQ',
  () => {
    test('with one killed, one stopped past its claim and one cut off, nothing is lost, invented or out of order, and every duplicate has a cause', {
      timeout: 120_000 + MESSAGES * 5,
    }, async () => {
      const outcome = await runRelays(place, { messages: MESSAGES, seed: SEED })
      if (process.env['RELAYS_MESSAGES'] !== undefined) report(outcome)
      expectValid(outcome)
      expect(outcome.findings).toMatchObject({
        lost: 0,
        phantom: 0,
        inversions: 0,
        staleSettles: 0,
        earlyClaims: 0,
        deadLetters: 0,
        duplicates: { unexplained: 0 },
      })
      // The default claim time, and one poll of the others.
      expect(outcome.findings.takeoverMs.first).toBeLessThanOrEqual(16_000)
    })

    test('relays that settle without their token and claim without the gap test are found out', {
      timeout: 240_000,
    }, async () => {
      const { findings } = await runRelays(place, {
        ...SMALL,
        seed: SEED,
        bugs: ['settle without token', 'claim without gap test'],
      })
      expect(findings.staleSettles).toBeGreaterThan(0)
      expect(findings.inversions).toBeGreaterThan(0)
    })
  },
)
