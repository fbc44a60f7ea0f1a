/**
 * Both parts of the story: when the programs of `apps.ts` are killed, and what else happens. First
 * the naive way, then with the outbox, under more kills and faults.
 */
import { type AppName, type ChildPlan, HOLD_MS } from './plan.ts'
import { Program, type Stop } from './processes.ts'
import type { Reconciliation } from './reconcile.ts'
import {
  type Counts,
  type Part,
  type Scene,
  type Server,
  between,
  count,
  findings,
  prepare,
  restart,
  watch,
} from './scene.ts'

/** Runs the naive programs under kills, and counts. */
export async function naivePart(part: Part): Promise<Reconciliation> {
  await using scene = await prepare(part, false)
  const { commands, random, view } = scene
  const say = (text: string): void => view.say(`  ${text}`)
  const some = (): number => between(random, 1, Math.max(1, Math.floor(commands.length / 8)))
  const plan = {
    ...scene.plan,
    way: 'naive' as const,
    failsTwice: commands[Math.floor(commands.length / 3)]?.line ?? 0,
    failsAlways: 0,
  }
  const registrarStops: Stop[] = [
    { point: 'R3', nth: some(), where: 'after the write, before the publish' },
    { point: 'R3', nth: some(), where: 'after the write, before the publish' },
    // From the middle on, the other habit: this one counts past the first half.
    {
      point: 'R5',
      nth: Math.ceil(commands.length / 2) + some(),
      where: 'after the publish, before the commit',
    },
    { point: 'R5', nth: some(), where: 'after the publish, before the commit' },
  ]
  const financeStops: Stop[] = [
    { point: 'C7', nth: some(), where: 'after its work, before the acknowledgement' },
    { point: 'C7', nth: some(), where: 'after its work, before the acknowledgement' },
  ]
  const registrar = new Program({ name: 'registrar', plan, stops: registrarStops, say })
  const finance = new Program({ name: 'finance', plan, stops: financeStops, say })
  finance.start()
  registrar.start()
  try {
    await registrar.finished
    await watch(scene, {
      until: ({ waiting }) => waiting === 0,
      // What waits for a retry is in another queue of RabbitMQ.
      steadyMs: scene.broker.place.kind === 'rabbitmq' ? 3000 : 0,
      deadline: performance.now() + 10 * HOLD_MS,
      failure: finance.finished,
    })
    await finance.stop()
  } finally {
    registrar.abandon()
    finance.abandon()
  }
  return await findings(scene)
}

/** Until then it has to be over, also on a busy machine. */
const DEADLINE_MS = { alone: 120_000, withServers: 180_000 } as const

export interface OutboxResult {
  readonly numbers: Reconciliation
  readonly expectedDeadLetters: number
  /** Kills that were planned but never came about, since the input was too short for them. */
  readonly missed: readonly string[]
}

/** Copies of delivered messages that are put into a queue. */
const DUPLICATES = 25

interface Story {
  readonly scene: Scene
  readonly desk: Program
  readonly finance: Program
  readonly failure: Promise<unknown>
  readonly deadline: number
  /** Faults that were planned and did not happen are added here. */
  readonly missed: string[]
}

/** Runs the same story with the outbox, under more kills and faults. */
export async function outboxPart(part: Part): Promise<OutboxResult> {
  await using scene = await prepare(part, true)
  const { commands, view } = scene
  // Both in the part that is handed in after RabbitMQ was killed (see `faults`).
  const failsTwice = commands[Math.floor(commands.length * 0.55)]?.line ?? 0
  const failsAlways = commands[Math.floor(commands.length * 0.6)]?.line ?? 0
  const programs = startAll(scene, { ...scene.plan, way: 'outbox', failsTwice, failsAlways })
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
  const program = (name: AppName, stops: readonly Stop[]): Program =>
    new Program({ ...common, name, stops })
  const programs: [Program, Program, Program] = [
    program('desk', [betweenPublishAndSettle(), betweenCommitAndPublish()]),
    program('registrar', [
      betweenCommitAndPublish(),
      betweenPublishAndSettle(),
      insideHandler(),
      beforeAck(),
      betweenCommitAndPublish(),
    ]),
    program('finance', [insideHandler(), beforeAck(), beforeAck()]),
  ]
  for (const each of programs.toReversed()) each.start()
  return programs
}

/**
 * The faults besides the kills of the programs. The desk may hand in one part of the commands after
 * the other, so that each fault finds work that is not done: a server dies right after the desk was
 * told to go on. RabbitMQ dies before any handler has failed: what fails makes a retry queue, and
 * RabbitMQ 3.10 cannot keep a queue that is younger than a second (docs/rabbitmq.md).
 */
async function faults(story: Story): Promise<void> {
  const { scene, desk } = story
  const { database, broker } = scene.servers
  const total = scene.commands.length
  desk.tell(String(Math.ceil(total / 4)))
  await reach(
    story,
    'the broker is restarted',
    ({ financial }) => financial >= Math.floor(total / 8),
  )
  desk.tell(String(Math.ceil(total / 2)))
  await restartWithin(story, broker)
  await reach(
    story,
    'broken and repeated messages',
    ({ financial }) => financial >= Math.floor(total / 4),
  )
  const copies = await scene.broker.disturb(DUPLICATES)
  scene.view.say(
    `  a message that is no JSON, and ${copies} copies of messages that were delivered before, are put into the queue`,
  )
  await reach(
    story,
    'the database is restarted',
    ({ financial }) => financial >= Math.floor((total * 3) / 8),
  )
  desk.tell(String(Math.ceil((total * 3) / 4)))
  await restartWithin(story, database)
  await financeAway(story)
}

/** Finance is down while the registrar goes on. */
async function financeAway(story: Story): Promise<void> {
  const { scene, desk, finance } = story
  const total = scene.commands.length
  await reach(story, 'finance is stopped', ({ financial }) => financial >= Math.floor(total / 2))
  scene.view.say('  finance is stopped (SIGTERM) and stays down')
  await finance.stop()
  desk.tell(String(total))
  await reach(story, 'finance comes back', ({ students }) => students >= total * 0.9)
  scene.view.say('  finance is back')
  finance.start()
}

async function reach(
  { scene, failure, deadline, missed }: Story,
  fault: string,
  until: (counts: Counts) => boolean,
): Promise<void> {
  if (!(await watch(scene, { until, deadline, failure })))
    missed.push(`${fault} (its moment did not come in time)`)
}

async function restartWithin({ scene, failure }: Story, server: Server | undefined): Promise<void> {
  if (server === undefined) return
  const failed = failure.then(() => new Promise<never>(() => {}))
  await Promise.race([restart(scene, server), failed])
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
