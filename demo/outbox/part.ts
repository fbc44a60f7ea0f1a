import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { OutgoingMessage } from '../../src/index.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import type { ChildPlan } from '../plan.ts'
import { Program, type Stop } from '../processes.ts'
import { type Reconciliation, reconcile } from '../reconcile.ts'
import { type Scene, between, prepare, watch } from '../scene.ts'

const DEADLINE_MS = 45_000
const DUPLICATES = 25

export interface OutboxResult {
  readonly numbers: Reconciliation
  readonly expectedDeadLetters: number
  /** Kills that were planned but never came about, since the input was too short for them. */
  readonly missed: readonly string[]
}

/** Runs the same story with the outbox, under more kills and faults. */
export async function outboxPart(scene: Scene): Promise<OutboxResult> {
  const { folder, commands, view } = scene
  await prepare(scene, true)
  const failsTwice = commands[Math.floor(commands.length / 3)]?.line ?? 0
  const failsAlways = commands[Math.floor(commands.length / 2)]?.line ?? 0
  const plan = { folder, failsTwice, failsAlways }
  const programs = startAll(scene, plan)
  const failure = Promise.all(programs.map(({ finished }) => finished))
  const deadline = performance.now() + DEADLINE_MS
  try {
    view.say(`  the handler of line ${failsTwice} will fail twice, the one of line ${failsAlways} always`)
    await faults(scene, programs, failure, deadline)
    const total = commands.length
    await watch(scene, { until: (now) => now.students >= total && now.financial >= total - 1 && now.waiting === 0, deadline, failure })
    for (const program of programs) await program.stop()
  } finally {
    for (const program of programs) program.abandon()
  }
  return {
    numbers: reconcile(folder, commands.length),
    expectedDeadLetters: deadLettersFor(commands.length),
    missed: programs.flatMap(missedStops),
  }
}

/** The message that is no JSON, and the student who cannot be billed, if there is one. */
function deadLettersFor(commands: number): number {
  return commands === 0 ? 1 : 2
}

function missedStops(program: Program): string[] {
  return program.planned.slice(program.kills).map(({ where }) => `${program.name} ${where}`)
}

function startAll({ commands, random, view }: Scene, plan: ChildPlan): [Program, Program, Program] {
  const say = (text: string): void => view.say(`  ${text}`)
  // Batches are fewer than messages, so points that come once per batch are set earlier.
  const message = (): number => between(random, 1, Math.floor(commands.length / 8))
  const batch = (): number => between(random, 1, Math.floor(commands.length / 200))
  const betweenCommitAndPublish = (): Stop => ({ point: 'R3', nth: batch(), where: 'between commit and publish' })
  const betweenPublishAndSettle = (): Stop => ({ point: 'R5', nth: batch(), where: 'between publish and settle' })
  const insideHandler = (): Stop => ({ point: 'C4', nth: message(), where: 'inside a handler' })
  const beforeAck = (): Stop => ({ point: 'C7', nth: message(), where: 'between commit and acknowledgement' })
  const desk = new Program({
    name: 'desk',
    file: 'outbox/desk.ts',
    plan,
    stops: [betweenPublishAndSettle(), betweenCommitAndPublish()],
    say,
  })
  const stops = [betweenCommitAndPublish(), betweenPublishAndSettle(), insideHandler(), beforeAck(), betweenCommitAndPublish()]
  const registrar = new Program({ name: 'registrar', file: 'outbox/registrar.ts', plan, stops, say })
  const finance = new Program({ name: 'finance', file: 'outbox/finance.ts', plan, stops: [insideHandler(), beforeAck(), beforeAck()], say })
  for (const program of [finance, registrar, desk]) program.start()
  return [desk, registrar, finance]
}

/** A poison message and duplicates on the queue, then finance down while the registrar goes on. */
async function faults(scene: Scene, programs: readonly Program[], failure: Promise<unknown>, deadline: number): Promise<void> {
  const { commands, view } = scene
  const finance = programs[2]
  await watch(scene, { until: ({ financial }) => financial >= Math.floor(commands.length / 4), deadline, failure })
  const copies = await disturb(scene.folder)
  view.say(`  a message that is no JSON, and ${copies} copies of messages that were delivered before, are put into the queue`)
  await watch(scene, { until: ({ financial }) => financial >= Math.floor(commands.length / 2), deadline, failure })
  view.say('  finance is stopped (SIGTERM) and stays down')
  await finance?.stop()
  await watch(scene, { until: ({ students }) => students >= commands.length * 0.9, deadline, failure })
  view.say('  finance is back')
  finance?.start()
}

async function disturb(folder: string): Promise<number> {
  const path = join(folder, 'broker.db')
  await using broker = sqliteQueue({ path })
  const to = { transport: 'default', kind: 'queue', name: 'finance' } as const
  const poison: OutgoingMessage = { id: 'poison', type: 'students.registered', headers: {}, body: Buffer.from([0xff, 0x7b, 0x00]), to }
  const copies = deliveredBefore(path).map((message) => ({ ...message, to }))
  const outcomes = await Promise.all(broker.publish([poison, ...copies]))
  const refused = outcomes.find(({ kind }) => kind !== 'confirmed')
  if (refused !== undefined) throw new Error(`the queue answered '${refused.kind}' to a message of the demo`)
  return copies.length
}

function deliveredBefore(path: string): Omit<OutgoingMessage, 'to'>[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 })
  try {
    const sql = "SELECT id, type, headers, body FROM mersal_queue_messages WHERE queue = 'audit' ORDER BY position LIMIT ?"
    const rows = database.prepare(sql).all(DUPLICATES) as { id: string; type: string; headers: string; body: Uint8Array }[]
    return rows.map(({ headers, ...row }) => ({ ...row, headers: JSON.parse(headers) as Record<string, string> }))
  } finally {
    database.close()
  }
}
