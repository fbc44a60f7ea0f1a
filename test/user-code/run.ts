import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { command, type CommandType, Mersal, type Store, silentLogger } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { Happened, noteEnd } from './happened.ts'
import type { Library } from './here.ts'
import { perform } from './interpreter.ts'
import { type Found, judge } from './judge.ts'
import { type Outcome, outcomeOf } from './outcome.ts'
import { type Abilities, type Program, randomProgram } from './program.ts'
import { newTrace, type Trace } from './trace.ts'
import { seededRandom } from '../../scripts/seeded-random.ts'

export interface UserPlace<Tx> {
  readonly store: Store<Tx>
  readonly library: Library<Tx>
  readonly abilities: Abilities
  /** Programs that run at the same time. */
  readonly atOnce: number
  /** Tags of all rows, and of all messages. */
  rows(): Promise<readonly string[]>
  messages(): Promise<readonly string[]>
}

export interface Result {
  readonly program: Program
  readonly outcome: Outcome
  readonly wrong: readonly string[]
}

/** Far above what a program takes: nothing excuses a handler that runs out of time. */
const HANDLER_MS = 5000
/** After this its unit was given up. */
const OUTLIVED_MS = HANDLER_MS + 1000
const Run: CommandType<{ readonly name: string }> = command<{ readonly name: string }>(
  'programs.run',
)

/** Runs random programs; each result says what was wrong. The app is closed, the store with it. */
export async function runPrograms<Tx>(
  place: UserPlace<Tx>,
  seed: number,
  count: number,
): Promise<readonly Result[]> {
  const programs = Array.from({ length: count }, (_, index) =>
    randomProgram(`p${seed}-${index}`, seededRandom(seed * 7919 + index), place.abilities),
  )
  return await perhapsTwice(place, programs)
}

async function perhapsTwice<Tx>(
  place: UserPlace<Tx>,
  programs: readonly Program[],
): Promise<readonly Result[]> {
  const traces = new Map(programs.map((program) => [program.name, newTrace()]))
  const handled = handlings()
  const app = new Mersal<Tx>({
    name: 'programs',
    store: place.store,
    transport: memoryTransport(),
    outbox: { runRelay: false },
    logger: { ...silentLogger, error: (fields) => handled.explain(fields) },
    receive: {
      concurrency: place.atOnce,
      immediateRetries: 0,
      maxDeliveries: 1,
      handlerTimeoutMs: HANDLER_MS,
    },
  })
  const byName = new Map(programs.map((program) => [program.name, program]))
  const outlive = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, OUTLIVED_MS))
  app.handle(Run, async ({ name }, context) => {
    const program = byName.get(name) as Program
    const { tx } = context
    await perform(program, {
      app,
      library: place.library,
      trace: traces.get(name) as Trace,
      tx,
      sender: context,
      outlive,
      abort: () => {},
    })
  })
  await app.start()
  try {
    const outcomes = await inLanes(programs, place.atOnce, (program) =>
      finish(app, place, program, traces.get(program.name) as Trace, handled.of),
    )
    // What runs late has run by then.
    await outlive()
    const found = split(await place.rows(), await place.messages())
    const nothing: Found = { rows: new Set(), messages: new Set() }
    return await Promise.all(
      programs.map(async (program, index) => {
        const outcome = outcomes[index] as Outcome
        const own = found.get(program.name) ?? nothing
        const trace = traces.get(program.name) as Trace
        return { program, outcome, wrong: await judge(program, trace, outcome, own) }
      }),
    )
  } finally {
    handled.stop()
    await app.stop()
  }
}

/** Runs one program on its road, then what it has left for later. */
async function finish<Tx>(
  app: Mersal<Tx>,
  { library }: UserPlace<Tx>,
  program: Program,
  trace: Trace,
  handled: (id: string) => Promise<Outcome>,
): Promise<Outcome> {
  const given = new AbortController()
  const abort = (): void => given.abort(new Error('given up'))
  const inside = { app, library, trace, outlive: () => Promise.resolve(), abort }
  const outcome = await outcomeOf(async () => {
    switch (program.road) {
      case 'transaction':
        return await app.transaction((tx, sender) => perform(program, { ...inside, tx, sender }), {
          signal: given.signal,
        })
      case 'within':
        return await library.transaction((tx) =>
          perform(program, { ...inside, tx, sender: undefined }),
        )
      case 'handler': {
        const id = await app.direct.sendLocal(Run, { name: program.name })
        return await handled(id)
      }
      default:
        return program.road satisfies never
    }
  })
  noteEnd()
  for (const { neighbour, run } of trace.late) {
    // Some libraries do not answer a late statement.
    const late = (): Promise<unknown> =>
      Promise.race([run(), new Promise((resolve) => setTimeout(resolve, 2000))])
    if (neighbour === undefined) await late()
    else
      trace.separate.push({
        tag: neighbour,
        outcome: beside(app, library, neighbour, late),
      })
    await trace.separate.at(-1)?.outcome
  }
  await Promise.all(trace.separate.map((each) => each.outcome))
  return outcome
}

/** A transaction with a row and a message in the midst of which something else happens. */
function beside<Tx>(
  app: Mersal<Tx>,
  library: Library<Tx>,
  tag: string,
  happens: () => Promise<unknown>,
): Promise<Outcome> {
  return outcomeOf(() =>
    app.transaction(async (tx, sender) => {
      await library.insert(tx, tag)
      await happens()
      await sender.publish(Happened, { tag })
    }),
  )
}

/** What became of handled messages, by their ids. */
function handlings() {
  const why = new Map<unknown, string>()
  const ends = new Map<string, PromiseWithResolvers<Outcome>>()
  const endOf = (id: string): PromiseWithResolvers<Outcome> => {
    let end = ends.get(id)
    if (end === undefined) ends.set(id, (end = Promise.withResolvers()))
    return end
  }
  const listener = (message: unknown): void => {
    const { id, outcome } = message as { readonly id: string; readonly outcome: string }
    endOf(id).resolve(
      outcome === 'handled' ? { kind: 'committed' } : { kind: 'failed', code: outcome },
    )
  }
  /** A log line of the bus, which comes after the event. */
  const explain = (fields: object): void => {
    const { id, error } = fields as { readonly id?: unknown; readonly error?: unknown }
    why.set(id, String(error))
  }
  subscribe('mersal:handle', listener)
  const of = async (id: string): Promise<Outcome> => {
    const outcome = await endOf(id).promise
    await new Promise((resolve) => setImmediate(resolve))
    return outcome.kind === 'failed'
      ? { ...outcome, code: `${outcome.code}: ${why.get(id) ?? ''}` }
      : outcome
  }
  return { of, explain, stop: () => unsubscribe('mersal:handle', listener) }
}

async function inLanes<Item, Made>(
  items: readonly Item[],
  lanes: number,
  work: (item: Item) => Promise<Made>,
): Promise<Made[]> {
  const made: Made[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++)
      made[index] = await work(items[index] as Item)
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  return made
}

function split(rows: readonly string[], messages: readonly string[]): ReadonlyMap<string, Found> {
  const found = new Map<string, { rows: Set<string>; messages: Set<string> }>()
  const of = (tag: string): { rows: Set<string>; messages: Set<string> } => {
    const name = tag.slice(0, tag.lastIndexOf('.'))
    let one = found.get(name)
    if (one === undefined) found.set(name, (one = { rows: new Set(), messages: new Set() }))
    return one
  }
  for (const tag of rows) of(tag).rows.add(tag)
  for (const tag of messages) of(tag).messages.add(tag)
  return found
}
