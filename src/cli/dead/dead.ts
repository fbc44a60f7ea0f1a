import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { Transport } from '../../core/transport.ts'
import { toError } from '../../lib/async/abort.ts'
import { suggest } from '../../lib/suggest.ts'
import { chosenStore, openStore, type Served, storeOption } from '../config/access.ts'
import type { Arguments } from '../arguments.ts'
import {
  type Changed,
  changeLetters,
  changeNamed,
  countLetters,
  type LetterFilter,
} from '../../operate/letters.ts'
import { elsewhere, list, show } from './dead-show.ts'
import { describeError } from '../../operate/describe-error.ts'
import { CommandError, exitCodes, UsageError } from '../exit.ts'
import { jsonOption, pageOptions, yesOption } from '../help.ts'
import type { Loaded } from '../config/load-config.ts'
import { countOf, type Output, table } from '../output.ts'
import {
  incomingJson,
  problemLines,
  queuesOf,
  type TransportQueues,
  withDeadLetters,
} from '../../operate/queues.ts'
import type { Context, Verb } from '../verb.ts'

export const dead: Verb = {
  name: 'dead',
  summary: 'list, show, retry and discard dead letters',
  usage: [
    'dead list [FILTER]',
    'dead queues',
    'dead show KEY [--body]',
    'dead retry KEY…',
    'dead retry --all [FILTER] --yes',
    'dead discard KEY… --yes',
    'dead discard --all [FILTER] --yes',
  ],
  text: `Without --queue, the outgoing dead letters: messages that the relay has given up. With --queue
NAME, the incoming ones of that queue, on the transport of the configuration. 'queues' lists the
queues that have dead letters. KEY is the first column of 'list'.

A retried message keeps its id and starts with no attempts used. If it holds back its key, it keeps
its place; otherwise it goes behind the open messages of its key.`,
  options: {
    ...jsonOption,
    ...yesOption,
    ...storeOption,
    all: { kind: 'flag', text: 'every dead letter that the filter lets through' },
    queue: { kind: 'text', value: 'NAME', text: 'the incoming dead letters of this queue' },
    transport: {
      kind: 'text',
      value: 'NAME',
      text: "with --queue: the transport; default 'default'",
    },
    type: { kind: 'text', value: 'NAME', text: 'filter: type of the message' },
    key: { kind: 'text', value: 'KEY', text: 'filter: partition key of the message' },
    destination: {
      kind: 'text',
      value: 'PLACE',
      text: 'filter: destination such as default/queue/billing; incoming: queue',
    },
    reason: {
      kind: 'text',
      value: 'REASON',
      text: 'filter: why it died, such as refused or unroutable',
    },
    ...pageOptions,
    body: { kind: 'flag', text: 'show the body as well' },
  },
  examples: [
    'mersal dead list --reason unroutable',
    'mersal dead show 1742 --body',
    'mersal dead retry 1742 1743',
    'mersal dead retry --all --type orders.placed --yes',
    'mersal dead list --queue billing --json',
  ],
  actions: ['list', 'show', 'retry', 'discard', 'queues'],
  run,
}

async function run(context: Context): Promise<number> {
  const { args, load } = context
  const [action, ...keys] = args.positionals
  check(action, keys, args)
  const loaded = await load()
  if (action === 'queues') return await listQueues(loaded, context)
  const box = await boxOf(loaded, args)
  const filter = filterOf(args)
  if (action === 'list') return await list(box, filter, context)
  if (action === 'show') return await show(box, keys[0] ?? '', context)
  return await change(action === 'retry' ? 'retry' : 'discard', box, keys, filter, context)
}

const filters = ['type', 'key', 'destination', 'reason'] as const

function check(action: string | undefined, keys: readonly string[], args: Arguments): void {
  const all = args.flag('all')
  const filtered = filters.some((name) => args.text(name) !== undefined)
  if (args.text('transport') !== undefined && args.text('queue') === undefined)
    throw new UsageError('--transport goes with --queue')
  if (action === 'list' || action === 'queues') {
    if (keys.length > 0)
      throw new UsageError(`'dead ${action}' takes no keys; 'dead show KEY' shows one`)
    return
  }
  if (action === 'show') {
    if (keys.length !== 1) throw new UsageError('name one dead letter: mersal dead show KEY')
    return
  }
  if (all === keys.length > 0)
    throw new UsageError(`name dead letters, or give --all: mersal dead ${action} KEY…`)
  if (filtered && !all) throw new UsageError('a filter goes with --all')
}

function filterOf(args: Arguments): LetterFilter {
  return {
    type: args.text('type'),
    partitionKey: args.text('key'),
    place: args.text('destination'),
    reason: args.text('reason'),
  }
}

async function boxOf(loaded: Loaded, args: Arguments): Promise<DeadLetterBox> {
  const queue = args.text('queue')
  const served = chosenStore(loaded, args)
  if (queue === undefined) return (await openStore(served)).admin.deadLetters
  const name = args.text('transport') ?? 'default'
  const transport = served.transports.get(name)
  if (transport === undefined)
    throw new CommandError(`the configuration has no transport '${name}'`)
  await checkQueue(transport, queue, name, loaded)
  return incoming(transport, queue)
}

/** A name that is wrong is not taken for a queue without dead letters. */
async function checkQueue(
  { operations }: Transport,
  queue: string,
  name: string,
  { config }: Loaded,
): Promise<void> {
  const found = await operations?.queues?.({ names: [queue, ...(config.queues ?? [])] })
  if (found === undefined) return
  const there = found.map((one) => one.queue)
  if (there.includes(queue)) return
  const near = suggest(queue, there)
  const some =
    there.length === 0
      ? 'no queue is known there'
      : `known there: ${there.slice(0, 10).join(', ')}${there.length > 10 ? ', …' : ''}`
  throw new CommandError(
    `there is no queue '${queue.slice(0, 100)}' on transport '${name}'; ${near === undefined ? some : `did you mean '${near}'?`}`,
  )
}

function incoming(transport: Transport, queue: string): DeadLetterBox {
  const box = transport.operations?.deadLetters?.(queue)
  if (box !== undefined) return box
  throw new CommandError(`the transport '${transport.name}' does not support 'mersal dead --queue'`)
}

async function change(
  verb: 'retry' | 'discard',
  box: DeadLetterBox,
  keys: readonly string[],
  filter: LetterFilter,
  context: Context,
): Promise<number> {
  const { args, out } = context
  const all = args.flag('all')
  if (!args.flag('yes') && (all || verb === 'discard')) {
    const count = all ? (await countLetters(box, filter)).matching : keys.length
    throw new UsageError(
      `this would ${verb} ${count} dead ${count === 1 ? 'letter' : 'letters'}; add --yes to do it`,
    )
  }
  const done = verb === 'retry' ? 'retried' : 'discarded'
  const result = all
    ? await changeAll(verb, done, box, filter, out)
    : await changeNamed(verb, box, keys)
  if (args.flag('json')) out.json({ [done]: result.changed, asked: result.asked })
  else out.line(`${done} ${result.changed} of ${result.asked}`)
  if (!all && result.changed < result.asked)
    out.note(`mersal: ${result.asked - result.changed} not found${elsewhere(args)}`)
  // With --all, somebody else may have been faster; with keys, the operator named something that is
  // not there.
  return !all && result.changed < result.asked ? exitCodes.failed : exitCodes.ok
}

/** One that breaks off says how far it came: what it has done is done. */
async function changeAll(
  verb: 'retry' | 'discard',
  done: string,
  box: DeadLetterBox,
  filter: LetterFilter,
  out: Output,
): Promise<Changed> {
  let changed = 0
  try {
    return await changeLetters(verb, box, {
      filter,
      progress(count) {
        changed = count
        out.progress(`${verb}: ${count} …`)
      },
    })
  } catch (thrown) {
    throw new CommandError(
      `${done} ${changed}, then it broke off; the others are still dead letters, so run it again: ${describeError(toError(thrown))}`,
    )
  }
}

async function listQueues(loaded: Loaded, { args, out }: Context): Promise<number> {
  const served: readonly [Served] = [chosenStore(loaded, args)]
  await openStore(served[0])
  const found = await queuesOf(loaded.config, served)
  const queues = withDeadLetters(found)
  const problems = problemLines(found)
  if (args.flag('json')) out.json(incomingJson(found))
  else if (queues.length > 0) {
    const rows = queues.map(({ transport, queue, dead, waiting, consumers }) =>
      [transport, queue, dead, waiting, consumers ?? '?'].map(String),
    )
    for (const line of table(
      [['transport', 'queue', 'dead', 'waiting', 'consumers'], ...rows],
      [2, 3, 4],
    ))
      out.line(line)
  } else if (problems.length === 0) out.line(noneIn(served, found))
  for (const problem of problems) out.note(`mersal: ${problem}`)
  return problems.length > 0 ? exitCodes.failed : exitCodes.ok
}

/** Says where was looked: a broker that cannot list its queues has more of them than are known. */
function noneIn(served: readonly Served[], found: readonly TransportQueues[]): string {
  const looked = found.flatMap(({ queues }) => queues.map(({ queue }) => queue))
  const named = looked.length > 5 ? [...looked.slice(0, 5), '…'] : looked
  const list = named.length === 0 ? '' : ` (${named.join(', ')})`
  const none = `no dead letters of consumers in ${countOf(looked.length, 'queue')}${list}`
  const all = served.flatMap(({ transports }) => [...transports.values()])
  return all.some(({ features }) => features.namedQueuesOnly === true)
    ? `${none}; a broker here cannot list its queues: name others in 'queues' of the configuration, or in MERSAL_QUEUES`
    : none
}
