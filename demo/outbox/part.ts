import type { ChildPlan } from '../plan.ts'
import { Program, type Stop } from '../processes.ts'
import type { Reconciliation } from '../reconcile.ts'
import {
  type Counts,
  type Part,
  type Scene,
  between,
  count,
  findings,
  prepare,
  watch,
} from '../scene.ts'
import { type Story, faults } from './faults.ts'

/** Until then it has to be over, also on a busy machine. */
const DEADLINE_MS = { alone: 120_000, withServers: 180_000 } as const

export interface OutboxResult {
  readonly numbers: Reconciliation
  readonly expectedDeadLetters: number
  /** Kills that were planned but never came about, since the input was too short for them. */
  readonly missed: readonly string[]
}

/** Runs the same story with the outbox, under more kills and faults. */
export async function outboxPart(part: Part): Promise<OutboxResult> {
  await using scene = await prepare(part, true)
  const { commands, view } = scene
  // Both in the part that is handed in after RabbitMQ was killed (see faults.ts).
  const failsTwice = commands[Math.floor(commands.length * 0.55)]?.line ?? 0
  const failsAlways = commands[Math.floor(commands.length * 0.6)]?.line ?? 0
  const programs = startAll(scene, { ...scene.plan, failsTwice, failsAlways })
  const [desk, , finance] = programs
  const failure = Promise.all(programs.map(({ finished }) => finished))
  const deadline =
    performance.now() + (withServers(scene) ? DEADLINE_MS.withServers : DEADLINE_MS.alone)
  const story: Story = { scene, desk, finance, failure, deadline, missed: [] }
  try {
    view.say(
      `  the handler of line ${failsTwice} will fail twice, the one of line ${failsAlways} always`,
    )
    await faults(story)
    await comeToRest(story, programs)
  } finally {
    for (const program of programs) program.abandon()
  }
  return {
    numbers: await findings(scene),
    expectedDeadLetters: deadLettersFor(commands.length),
    missed: [...programs.flatMap(missedStops), ...story.missed],
  }
}

function withServers({ servers }: Scene): boolean {
  return servers.database !== undefined || servers.broker !== undefined
}

/**
 * Waits until everything is done and stops. What an app held back at that moment is seen only now:
 * then it goes on.
 */
async function comeToRest(
  { scene, failure, deadline }: Story,
  programs: readonly Program[],
): Promise<void> {
  const total = scene.commands.length
  const until = (now: Counts): boolean =>
    now.students >= total &&
    now.financial >= total - 1 &&
    now.deadLetters >= deadLettersFor(total) &&
    now.waiting === 0
  for (;;) {
    const atRest = await watch(scene, { until, deadline, failure })
    if (!atRest) scene.view.say(`  not at rest in time: ${JSON.stringify(await count(scene))}`)
    for (const program of programs) await program.stop()
    if (!atRest || (await count(scene)).waiting === 0) return
    for (const program of programs) program.start()
  }
}

/** The message that is no JSON, and the student who cannot be billed, if there is one. */
function deadLettersFor(commands: number): number {
  return commands === 0 ? 1 : 2
}

function missedStops(program: Program): string[] {
  return program.planned.slice(program.kills).map(({ where }) => `SIGKILL ${program.name} ${where}`)
}

function startAll(scene: Scene, plan: Omit<ChildPlan, 'app'>): [Program, Program, Program] {
  const { commands, random, view } = scene
  const common = {
    plan,
    supervised: withServers(scene),
    say: (text: string): void => view.say(`  ${text}`),
  }
  // Batches are fewer than messages, so points that come once per batch are set earlier.
  const message = (): number => between(random, 1, Math.floor(commands.length / 8))
  const batch = (): number => between(random, 1, Math.floor(commands.length / 200))
  const betweenCommitAndPublish = (): Stop => ({
    point: 'R3',
    nth: batch(),
    where: 'between commit and publish',
  })
  const betweenPublishAndSettle = (): Stop => ({
    point: 'R5',
    nth: batch(),
    where: 'between publish and settle',
  })
  const insideHandler = (): Stop => ({ point: 'C4', nth: message(), where: 'inside a handler' })
  const beforeAck = (): Stop => ({
    point: 'C7',
    nth: message(),
    where: 'between commit and acknowledgement',
  })
  const desk = new Program({
    ...common,
    name: 'desk',
    file: 'outbox/apps',
    stops: [betweenPublishAndSettle(), betweenCommitAndPublish()],
  })
  const stops = [
    betweenCommitAndPublish(),
    betweenPublishAndSettle(),
    insideHandler(),
    beforeAck(),
    betweenCommitAndPublish(),
  ]
  const registrar = new Program({
    ...common,
    name: 'registrar',
    file: 'outbox/apps',
    stops,
  })
  const finance = new Program({
    ...common,
    name: 'finance',
    file: 'outbox/apps',
    stops: [insideHandler(), beforeAck(), beforeAck()],
  })
  for (const program of [finance, registrar, desk]) program.start()
  return [desk, registrar, finance]
}
