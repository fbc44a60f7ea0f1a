import { AsyncLocalStorage } from 'node:async_hooks'
import { type EventType, event, type Mersal, type Sender } from '../../src/index.ts'
import type { LibraryUnderTest } from '../postgres/session-suite.ts'
import type { Program, Step, Via } from './program.ts'

export const Happened: EventType<{ readonly tag: string }> = event<{ readonly tag: string }>(
  'programs.happened',
)

/** What a program needs of a database library; `end` runs a text as a statement. */
export type Library<Tx> = Pick<
  LibraryUnderTest<Tx>,
  'transaction' | 'insert' | 'savepoint' | 'fail'
> & {
  readonly end?: (tx: Tx, text: string) => Promise<void>
}

interface Scope {
  readonly outer: Scope | undefined
  undone: boolean
}

interface Done {
  readonly tag: string
  readonly scope: Scope
}

/** What a program did, as it saw it. */
export interface Trace {
  readonly rows: Done[]
  readonly messages: Done[]
  /** Messages that may or may not be stored: nobody waited for them. */
  readonly loose: string[]
  /** What came after the end and was taken. */
  readonly accepted: string[]
  /** The transaction was ended behind the back of the bus, and nobody refused. */
  ended: boolean
  /** To be run when the transaction is over. */
  readonly late: (() => Promise<void>)[]
}

export const newTrace = (): Trace => ({
  rows: [],
  messages: [],
  loose: [],
  accepted: [],
  ended: false,
  late: [],
})

export const isAlive = ({ scope }: Done): boolean => {
  for (let each: Scope | undefined = scope; each !== undefined; each = each.outer)
    if (each.undone) return false
  return true
}

/** `sender` with `savepoint`: of a unit of the bus. */
type UnitSender = Sender & {
  readonly savepoint?: <Result>(work: () => Promise<Result>) => Promise<Result>
}

interface Here<Tx> {
  readonly app: Mersal<Tx>
  readonly library: Library<Tx>
  readonly trace: Trace
  readonly tx: Tx
  /** The handle of the whole transaction; those of savepoints belong to the library alone. */
  readonly whole: Tx
  readonly sender: UnitSender | undefined
  readonly scope: Scope
  readonly outlive: () => Promise<void>
}

export interface Inside<Tx> {
  readonly app: Mersal<Tx>
  readonly library: Library<Tx>
  readonly trace: Trace
  readonly tx: Tx
  readonly sender: UnitSender | undefined
  /** Resolves when the time of a handler is long over. */
  readonly outlive: () => Promise<void>
}

/** Runs a program inside a transaction. */
export async function perform<Tx>(program: Program, inside: Inside<Tx>): Promise<void> {
  await steps(program.steps, {
    ...inside,
    whole: inside.tx,
    scope: { outer: undefined, undone: false },
  })
}

class OnPurpose extends Error {}

async function steps<Tx>(all: readonly Step[], here: Here<Tx>): Promise<void> {
  for (const step of all) await one(step, here)
}

async function one<Tx>(step: Step, here: Here<Tx>): Promise<void> {
  switch (step.kind) {
    case 'pair':
      return await pair(step, here)
    case 'together':
      return void (await Promise.all(
        step.tags.map((tag) =>
          pair({ kind: 'pair', tag, key: undefined, via: viaOf(here), forgets: false }, here),
        ),
      ))
    case 'savepoint':
      return await savepoint(step, here)
    case 'swallow':
      return await here.library.fail(here.tx).catch(() => {})
    case 'throw':
      throw new OnPurpose('on purpose')
    case 'join':
      return await joined(step.steps, here)
    case 'end':
      return await end(step, here)
    case 'outlive':
      await here.outlive()
      return await pair(
        { kind: 'pair', tag: step.tag, key: undefined, via: viaOf(here), forgets: false },
        here,
      )
    case 'late':
      return void here.trace.late.push(later(step, here))
    default:
      return step satisfies never
  }
}

const viaOf = <Tx>({ sender }: Here<Tx>): Via => (sender === undefined ? 'within' : 'sender')

async function pair<Tx>(
  { tag, key, via, forgets }: Extract<Step, { kind: 'pair' }>,
  here: Here<Tx>,
): Promise<void> {
  const { library, tx, trace, scope } = here
  await library.insert(tx, tag)
  trace.rows.push({ tag, scope })
  const sending = publish(via, here, tag, key)
  if (forgets) {
    trace.loose.push(tag)
    // Nobody else would hear of it; a unit of the bus does.
    if (here.sender === undefined) sending.catch(() => {})
    return
  }
  await sending
  trace.messages.push({ tag, scope })
}

function publish<Tx>(
  via: Via,
  { app, tx, sender }: Here<Tx>,
  tag: string,
  partitionKey: string | undefined,
): Promise<string> {
  const options = partitionKey === undefined ? {} : { partitionKey }
  if (via === 'within') return app.within(tx).publish(Happened, { tag }, options)
  return (via === 'ambient' ? app : (sender ?? app)).publish(Happened, { tag }, options)
}

async function savepoint<Tx>(
  step: Extract<Step, { kind: 'savepoint' }>,
  here: Here<Tx>,
): Promise<void> {
  const scope: Scope = { outer: here.scope, undone: false }
  const body = async (tx: Tx): Promise<void> => {
    await steps(step.steps, { ...here, tx, scope })
    if (step.fails) throw new OnPurpose('in the savepoint')
  }
  const bus = here.sender?.savepoint
  try {
    if (step.of === 'bus' && bus !== undefined) await bus(() => body(here.tx))
    else await here.library.savepoint(here.tx, body)
  } catch (error) {
    scope.undone = true
    // What the program itself did not plan goes on up, as in most programs.
    if (!(error instanceof OnPurpose) || error.message !== 'in the savepoint') throw error
  }
}

async function joined<Tx>(all: readonly Step[], here: Here<Tx>): Promise<void> {
  const { sender } = here
  if (sender === undefined) return await steps(all, here)
  await here.app.transaction((tx, inner) => steps(all, { ...here, tx, sender: inner }), {
    join: sender,
  })
}

async function end<Tx>(step: Extract<Step, { kind: 'end' }>, here: Here<Tx>): Promise<void> {
  const { library, tx, trace } = here
  if (library.end === undefined) return
  try {
    await library.end(tx, step.text)
    trace.ended = true
  } catch (error) {
    if (!step.caught) throw error
  }
}

/**
 * After the end of the unit; outside of its asynchronous context, as a timer of somebody else would
 * be, or inside.
 */
function later<Tx>(
  { what, tag }: Extract<Step, { kind: 'late' }>,
  here: Here<Tx>,
): () => Promise<void> {
  const { library, whole, trace } = here
  const run = async (): Promise<void> => {
    await (what === 'row' ? library.insert(whole, tag) : publish('sender', here, tag, undefined))
    trace.accepted.push(`${what} ${tag}`)
  }
  return AsyncLocalStorage.bind(() => run().catch(() => {}))
}
