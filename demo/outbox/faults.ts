import type { Program } from '../processes.ts'
import { type Counts, type Scene, restart, watch } from '../scene.ts'
import type { Server } from '../servers.ts'

const DUPLICATES = 25

export interface Story {
  readonly scene: Scene
  readonly desk: Program
  readonly finance: Program
  readonly failure: Promise<unknown>
  readonly deadline: number
  /** Faults that were planned and did not happen are added here. */
  readonly missed: string[]
}

/**
 * The faults besides the kills of the programs. The desk may hand in one part of the commands after
 * the other, so that each fault finds work that is not done: a server dies right after the desk was
 * told to go on. RabbitMQ dies before any handler has failed: what fails makes a retry queue, and
 * RabbitMQ 3.10 cannot keep a queue that is younger than a second (docs/rabbitmq.md).
 */
export async function faults(story: Story): Promise<void> {
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
