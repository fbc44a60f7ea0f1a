/**
 * The demo: `npm run demo -- --help`. To read it: the programs of the students' registration are in
 * `apps.ts`, the naive way first; `story.ts` says when they are killed and what else happens;
 * `reconcile.ts` compares what is left. The rest serves these: `scene.ts` opens servers and waits,
 * `processes.ts` and `child.ts` are the two ends of a program, `plan.ts` is what they agree upon,
 * and `places/` has one file for each database and broker.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seededRandom } from '../scripts/seeded-random.ts'
import { type Input, readInput } from './input.ts'
import { type DemoOptions, help, readOptions } from './options.ts'
import { type Reconciliation, brokenPromises, table } from './reconcile.ts'
import { type Servers, openServers } from './scene.ts'
import { naivePart, outboxPart } from './story.ts'
import { type View, createView, reasonOf, shown } from './view.ts'

/** The naive part shows enough with a few hundred. */
const NAIVE_COMMANDS = 300
/** With fewer, some faults find no place, and that breaks no promise. */
const COMMANDS_FOR_ALL_FAULTS = 100

function report(input: Input, view: View): void {
  view.say(`${input.registrations.length} commands, ${input.malformed.length} malformed lines`)
  for (const { line, problem } of input.malformed.slice(0, 20))
    view.say(`  line ${line}: ${shown(problem, 100)}`)
  if (input.malformed.length > 20) view.say(`  and ${input.malformed.length - 20} more`)
}

interface Run {
  readonly options: DemoOptions
  readonly input: Input
  readonly folder: string
  readonly view: View
  readonly servers: Servers
}

/** Returns the exit code. */
async function run({ options, input, folder, view, servers }: Run): Promise<number> {
  report(input, view)
  const columns: [string, Reconciliation][] = []
  const common = { random: seededRandom(options.seed), view, servers }
  if (options.part !== 'outbox') {
    view.say('\nThe naive way: write, then publish (and publish, then commit)')
    const commands = input.registrations.slice(0, NAIVE_COMMANDS)
    columns.push(['naive', await naivePart({ ...common, commands, folder: join(folder, 'naive') })])
    view.end()
  }
  let broken: string[] = []
  if (options.part !== 'naive') {
    view.say('\nWith the outbox: the same kills, and more')
    const commands = input.registrations
    const { numbers, expectedDeadLetters, missed } = await outboxPart({
      ...common,
      commands,
      folder: join(folder, 'outbox'),
    })
    columns.push(['outbox', numbers])
    broken = brokenPromises(numbers, expectedDeadLetters)
    for (const text of missed) view.say(`  a planned fault did not happen: ${text}`)
    if (missed.length > 0 && commands.length >= COMMANDS_FOR_ALL_FAULTS)
      broken.push(`${missed.length} planned faults did not happen`)
    view.end()
  }
  view.say(
    `\nReconciliation, read from the databases and the broker with nothing of the bus\n${table(columns)}\n`,
  )
  for (const text of broken) view.say(`BROKEN: ${text}`)
  if (options.part !== 'naive' && broken.length === 0)
    view.say('Every promise of the outbox was kept.')
  return broken.length === 0 ? 0 : 1
}

function complain(error: unknown): number {
  process.stderr.write(
    `${shown(error instanceof Error ? error.message : String(error), 500)}\nTry --help.\n`,
  )
  return 2
}

/**
 * Servers and files are removed also when somebody ends the demo, or closes the pipe that it writes
 * to. The signal aborts at that moment: what fails from then on is nobody's concern.
 */
function removeWhenEnded(stack: AsyncDisposableStack): AbortSignal {
  const ended = new AbortController()
  const end = (code: number): void => {
    ended.abort()
    void stack.disposeAsync().finally(() => process.exit(code))
  }
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => end(code))
  }
  process.stdout.once('error', () => end(141))
  return ended.signal
}

async function main(): Promise<number> {
  let options: DemoOptions | undefined
  let input: Input
  try {
    options = readOptions(process.argv.slice(2))
    if (options === undefined) {
      process.stdout.write(help)
      return 0
    }
    input = await readInput(options.input)
  } catch (error) {
    return complain(error)
  }
  const { keep } = options
  const view = createView(process.stdout)
  await using stack = new AsyncDisposableStack()
  const ended = removeWhenEnded(stack)
  const folder = mkdtempSync(join(tmpdir(), 'mersal-demo-'))
  stack.defer(() => {
    if (keep) process.stdout.write(`The files are in ${folder}\n`)
    else rmSync(folder, { recursive: true, force: true })
  })
  const opening = openServers(options, view)
  // Known before they are open, so that a signal meanwhile leaves none behind.
  stack.defer(async () => (await opening.catch(() => undefined))?.[Symbol.asyncDispose]())
  let servers: Servers
  try {
    servers = await opening
  } catch (error) {
    return complain(error)
  }
  try {
    return await run({ options, input, folder, view, servers })
  } catch (error) {
    if (ended.aborted) await new Promise(() => {}) // the process ends when everything has been removed
    view.end()
    process.stderr.write(`The demo broke off: ${shown(reasonOf(error), 500)}\n`)
    return 3
  }
}

process.exitCode = await main()
