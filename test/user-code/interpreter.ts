import { setTimeout as sleep } from 'node:timers/promises'
import { setImmediate as nextTurn } from 'node:timers'
import type { Mersal } from '../../src/index.ts'
import { Happened, typeOf } from './happened.ts'
import type { Here, Inside } from './here.ts'
import { later } from './late.ts'
import { type Outcome, outcomeOf } from './outcome.ts'
import type { Program, Step, Via } from './program.ts'
import type { Scope } from './trace.ts'

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
  const { library, trace, tx } = here
  switch (step.kind) {
    case 'pair':
      return await pair(step, here)
    case 'row':
      return await row(step.tag, here)
    case 'spoiled':
      return await spoiled(step, here)
    case 'together':
      return void (await Promise.all(step.tags.map((tag) => plainPair(tag, here))))
    case 'savepoint':
      return await savepoint(step, here)
    case 'beside':
      return await beside(step.tag, here)
    case 'swallow':
      return await (step.undone ? library.undo : library.fail)?.(tx).catch(() => {})
    case 'throw':
      throw new OnPurpose('on purpose')
    case 'join':
      return await joined(step.steps, here)
    case 'separate':
      return void trace.separate.push({ tag: step.tag, outcome: separate(step, here) })
    case 'end':
      return await end(step, here)
    case 'outlive':
      await here.outlive()
      trace.givenUp = true
      return await plainPair(step.tag, here)
    case 'abort':
      here.abort()
      await (step.at === 'later' ? sleep(20) : new Promise<void>((go) => void nextTurn(go)))
      trace.givenUp = true
      return await plainPair(step.tag, here)
    case 'hasty':
      return await hasty(step.tag, here)
    case 'slip':
      // The work has ended by then: nothing waits between this step and its end.
      return void nextTurn(() => void slip(step, here).catch(() => {}))
    case 'late':
      return void trace.late.push(later(step, here))
    default:
      return step satisfies never
  }
}

const viaOf = <Tx>({ sender }: Here<Tx>): Via => (sender === undefined ? 'within' : 'sender')

async function row<Tx>(tag: string, { library, tx, trace, scope }: Here<Tx>): Promise<void> {
  await library.insert(tx, tag)
  trace.rows.push({ tag, scope })
}

/** Its statement has been sent, and the answer is not there. */
async function hasty<Tx>(tag: string, { library, tx, trace }: Here<Tx>): Promise<void> {
  trace.hasty.push(tag)
  void library.insert(tx, tag).catch(() => {})
  await new Promise<void>((resolve) => void nextTurn(resolve))
}

const slip = async <Tx>(
  { what, tag }: Extract<Step, { kind: 'slip' }>,
  { library, whole }: Here<Tx>,
): Promise<void> => (what === 'fail' ? library.fail(whole) : library.insert(whole, tag))

const plainPair = <Tx>(tag: string, here: Here<Tx>): Promise<void> =>
  pair({ kind: 'pair', tag, key: undefined, via: viaOf(here), forgets: false, slow: 'no' }, here)

async function pair<Tx>(
  { tag, key, via, forgets, slow }: Extract<Step, { kind: 'pair' }>,
  here: Here<Tx>,
): Promise<void> {
  await row(tag, here)
  const options = key === undefined ? {} : { partitionKey: key }
  const sending = senderOf(via, here).publish(typeOf(slow), { tag }, options)
  if (forgets) {
    const ours = here.sender !== undefined && (via !== 'within' || here.tx === here.whole)
    here.trace.loose.push({ tag, ours })
    // Nobody else would hear of it; a unit of the bus does.
    if (here.sender === undefined) sending.catch(() => {})
    return
  }
  await sending
  here.trace.messages.push({ tag, scope: here.scope })
}

type Sending = Pick<Mersal<unknown>, 'publish'>

function senderOf<Tx>(via: Via, { app, tx, sender }: Here<Tx>): Sending {
  if (via === 'within') return app.within(tx)
  return via === 'ambient' ? app : (sender ?? app)
}

async function spoiled<Tx>(
  { tag, via }: Extract<Step, { kind: 'spoiled' }>,
  here: Here<Tx>,
): Promise<void> {
  await row(tag, here)
  try {
    await senderOf(via, here).publish(Happened, { tag: 1 } as never)
  } catch {
    here.trace.spoiled.push({ tag, scope: here.scope })
  }
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

/** Sends from outside of a savepoint that is open, and is rolled back. */
async function beside<Tx>(tag: string, here: Here<Tx>): Promise<void> {
  const { sender, trace, scope } = here
  if (sender === undefined) return
  await row(tag, here)
  const undone = sender.savepoint(() => Promise.reject(new OnPurpose('in the savepoint')))
  const sending = sender.publish(Happened, { tag })
  const [, sent] = await Promise.allSettled([undone, sending])
  if (sent.status === 'fulfilled') trace.messages.push({ tag, scope })
  else trace.spoiled.push({ tag, scope })
}

async function joined<Tx>(all: readonly Step[], here: Here<Tx>): Promise<void> {
  const { sender } = here
  if (sender === undefined) return await steps(all, here)
  await here.app.transaction((tx, inner) => steps(all, { ...here, tx, sender: inner }), {
    join: sender,
  })
}

/** Not awaited by the program, which may hold what it waits for. */
function separate<Tx>(
  { tag, fails }: Extract<Step, { kind: 'separate' }>,
  { app, library }: Here<Tx>,
): Promise<Outcome> {
  return outcomeOf(() =>
    app.transaction(async (tx, sender) => {
      await library.insert(tx, tag)
      await sender.publish(Happened, { tag })
      if (fails) throw new OnPurpose('on purpose')
    }),
  )
}

async function end<Tx>(step: Extract<Step, { kind: 'end' }>, here: Here<Tx>): Promise<void> {
  const { library, tx, trace } = here
  const run = step.unseen ? library.endUnseen : library.end
  if (run === undefined) return
  try {
    await run(tx, step.text)
    trace.ended = true
    if (!step.unseen) trace.unrefused.push(step.text)
  } catch (error) {
    if (!step.caught) throw error
  }
}
