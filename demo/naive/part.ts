import { HOLD_MS } from '../plan.ts'
import { Program, type Stop } from '../processes.ts'
import type { Reconciliation } from '../reconcile.ts'
import { type Part, between, findings, prepare, watch } from '../scene.ts'

/** Runs the naive programs under kills, and counts. */
export async function naivePart(part: Part): Promise<Reconciliation> {
  await using scene = await prepare(part, false)
  const { commands, random, view } = scene
  const say = (text: string): void => view.say(`  ${text}`)
  const some = (): number => between(random, 1, Math.max(1, Math.floor(commands.length / 8)))
  const plan = {
    ...scene.plan,
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
  const registrar = new Program({
    name: 'registrar',
    file: 'naive/apps',
    plan,
    stops: registrarStops,
    say,
  })
  const finance = new Program({
    name: 'finance',
    file: 'naive/apps',
    plan,
    stops: financeStops,
    say,
  })
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
