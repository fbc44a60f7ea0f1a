import type { DeadLetter, DeadLetterBox } from '../core/dead-letter.ts'
import type { Transport } from '../core/transport.ts'
import { chosenStore, openStore, storeOption } from './access.ts'
import type { Arguments } from './arguments.ts'
import { allLetters, changeLetters, type LetterFilter } from './dead-letters.ts'
import { CommandError, exitCodes, UsageError } from './exit.ts'
import { jsonOption, yesOption } from './help.ts'
import type { Loaded } from './load-config.ts'
import { isoTime, type Output, table } from './output.ts'
import type { Context, Verb } from './verb.ts'

export const dead: Verb = {
  name: 'dead',
  summary: 'list, show, retry and discard dead letters',
  usage: [
    'dead list [FILTER]',
    'dead show KEY [--body]',
    'dead retry KEY…',
    'dead retry --all [FILTER] --yes',
    'dead discard KEY… --yes',
    'dead discard --all [FILTER] --yes',
  ],
  text: `Without --queue these are the outgoing ones: messages that the relay has given up. With --queue NAME they are the incoming
ones of that queue, on the transport of the configuration. KEY is what 'list' shows in its first column.
A retried message keeps its id and has no attempts used. One that holds back its key goes on from its place, others go behind
what is open of their key.`,
  options: {
    ...jsonOption,
    ...yesOption,
    ...storeOption,
    all: { kind: 'flag', text: 'every dead letter that the filter lets through' },
    queue: { kind: 'text', value: 'NAME', text: 'the incoming dead letters of this queue' },
    transport: { kind: 'text', value: 'NAME', text: "with --queue: the transport; default 'default'" },
    type: { kind: 'text', value: 'NAME', text: 'filter: type of the message' },
    key: { kind: 'text', value: 'KEY', text: 'filter: partition key of the message' },
    destination: { kind: 'text', value: 'PLACE', text: 'filter: destination such as default/queue/billing; incoming: queue' },
    reason: { kind: 'text', value: 'REASON', text: 'filter: why it died, such as refused or unroutable' },
    limit: { kind: 'number', value: 'N', min: 1, max: 1_000_000, text: 'list at most so many; default 100' },
    after: { kind: 'text', value: 'KEY', text: 'list those after this one' },
    body: { kind: 'flag', text: 'show the body as well' },
  },
  examples: [
    'mersal dead list --reason unroutable',
    'mersal dead show 1742 --body',
    'mersal dead retry 1742 1743',
    'mersal dead retry --all --type orders.placed --yes',
    'mersal dead list --queue billing --json',
  ],
  actions: ['list', 'show', 'retry', 'discard'],
  run,
}

async function run(context: Context): Promise<number> {
  const { args, load } = context
  const [action, ...keys] = args.positionals
  check(action, keys, args)
  const loaded = await load()
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
  if (args.text('transport') !== undefined && args.text('queue') === undefined) throw new UsageError('--transport goes with --queue')
  if (action === 'list') {
    if (keys.length > 0) throw new UsageError("'dead list' takes no keys; 'dead show KEY' shows one")
    return
  }
  if (action === 'show') {
    if (keys.length !== 1) throw new UsageError('name one dead letter: mersal dead show KEY')
    return
  }
  if (all === keys.length > 0) throw new UsageError(`name dead letters, or give --all: mersal dead ${action} KEY…`)
  if (filtered && !all) throw new UsageError('a filter goes with --all')
}

function filterOf(args: Arguments): LetterFilter {
  return { type: args.text('type'), partitionKey: args.text('key'), place: args.text('destination'), reason: args.text('reason') }
}

interface WithDeadLetters {
  readonly deadLetters?: DeadLetterBox
  readonly deadLettersOf?: (queue: string) => DeadLetterBox
}

async function boxOf(loaded: Loaded, args: Arguments): Promise<DeadLetterBox> {
  const queue = args.text('queue')
  const served = chosenStore(loaded, args)
  if (queue === undefined) return (await openStore(served)).admin.deadLetters
  const name = args.text('transport') ?? 'default'
  const transport = served.transports.get(name)
  if (transport === undefined) throw new CommandError(`the configuration has no transport '${name}'`)
  return incoming(transport, queue)
}

function incoming(transport: Transport, queue: string): DeadLetterBox {
  const { deadLetters, deadLettersOf } = transport as WithDeadLetters
  if (deadLettersOf !== undefined) return deadLettersOf.call(transport, queue)
  if (deadLetters === undefined) throw new CommandError(`the transport '${transport.name}' does not support 'mersal dead --queue'`)
  return { ...deadLetters, list: async (query) => await listOf(deadLetters, queue, query) }
}

/** A box with the letters of all queues, seen as the box of one. */
async function listOf(
  box: DeadLetterBox,
  queue: string,
  { limit = 100, after }: { limit?: number; after?: string } = {},
): Promise<readonly DeadLetter[]> {
  const found: DeadLetter[] = []
  for (let last = after; found.length < limit; ) {
    const page = await box.list({ limit: 1000, ...(last === undefined ? {} : { after: last }) })
    found.push(...page.filter(({ place }) => place === queue))
    last = page.at(-1)?.key
    if (last === undefined) break
  }
  return found.slice(0, limit)
}

async function list(box: DeadLetterBox, filter: LetterFilter, { args, out }: Context): Promise<number> {
  const letters: DeadLetter[] = []
  const most = args.number('limit') ?? 100
  for await (const letter of allLetters(box, filter, args.text('after'))) {
    letters.push(letter)
    if (letters.length === most) break
  }
  if (args.flag('json')) {
    out.json(letters.map((letter) => jsonOf(letter, args.flag('body'))))
    return exitCodes.ok
  }
  if (letters.length === 0) out.line(`no dead letters${elsewhere(args)}`)
  else showTable(letters, out)
  if (letters.length === most) out.note(`there may be more: --after ${letters.at(-1)?.key ?? ''}, or a higher --limit`)
  return exitCodes.ok
}

/** Most dead letters of a beginner are incoming ones, which the verb shows only when it is asked for a queue. */
function elsewhere(args: Arguments): string {
  return args.text('queue') === undefined ? ' among the outgoing messages; --queue NAME shows the incoming ones of a queue' : ''
}

function showTable(letters: readonly DeadLetter[], out: Output): void {
  const head = ['key', 'died', 'type', 'destination', 'partition key', 'reason', 'attempts', 'error']
  const rows = letters.map((letter) => [
    letter.key,
    isoTime(letter.diedAt),
    letter.type,
    letter.place,
    letter.partitionKey === undefined ? '' : `${letter.partitionKey}${letter.blocksKey ? ' (blocked)' : ''}`,
    letter.reason,
    String(letter.attempts),
    (letter.error.split('\n')[0] ?? '').slice(0, 80),
  ])
  for (const line of table([head, ...rows], [6])) out.line(line)
}

function jsonOf(letter: DeadLetter, body: boolean): object {
  const { body: bytes, diedAt, withheldBytes, ...rest } = letter
  return {
    ...rest,
    diedAt: isoTime(diedAt),
    ...(withheldBytes === undefined ? { bodyBytes: bytes.byteLength } : { withheldBytes }),
    ...(body && withheldBytes === undefined ? { bodyBase64: Buffer.from(bytes).toString('base64') } : {}),
  }
}

async function show(box: DeadLetterBox, key: string, { args, out }: Context): Promise<number> {
  const letter = await find(box, key, args)
  if (args.flag('json')) {
    out.json(jsonOf(letter, args.flag('body')), 2)
    return exitCodes.ok
  }
  const { headers, body } = letter
  const facts: readonly (readonly [string, string])[] = [
    ['key', letter.key],
    ['direction', letter.direction],
    ['id', letter.id],
    ['type', letter.type],
    ['destination', letter.place],
    ['partition key', letter.partitionKey ?? '-'],
    ['holds back its key', letter.blocksKey ? 'yes' : 'no'],
    ['reason', letter.reason],
    ...letter.error.split('\n').map((line, index) => [index === 0 ? 'error' : '', line.trim()] as const),
    ['attempts', String(letter.attempts)],
    ['died', isoTime(letter.diedAt)],
    ['maybe published', letter.maybePublished ? 'yes: an attempt ended without an answer' : 'no'],
    ...Object.entries(headers).map(([name, value]) => [`header ${name}`, value] as const),
    ['body', sizeText(letter, args.flag('body'))],
  ]
  for (const line of table(facts)) out.line(line)
  if (args.flag('body') && letter.withheldBytes === undefined) out.line(bodyText(body))
  return exitCodes.ok
}

function sizeText({ body, withheldBytes }: DeadLetter, shown: boolean): string {
  if (withheldBytes !== undefined) return `too large to be read: body, headers and type have ${withheldBytes} bytes`
  return `${body.byteLength} bytes${shown ? '' : ' (--body shows them)'}`
}

/** Text if it is well-formed UTF-8, else base64. */
function bodyText(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch {
    return `base64:${Buffer.from(body).toString('base64')}`
  }
}

async function find(box: DeadLetterBox, key: string, args: Arguments): Promise<DeadLetter> {
  // Most keys are numbers in order: then the one before leads to it at once.
  const before = /^\d{1,15}$/.test(key) && Number(key) > 1 ? String(Number(key) - 1) : undefined
  const [guess] = before === undefined ? [] : await box.list({ limit: 1, after: before })
  if (guess?.key === key) return guess
  for await (const letter of allLetters(box, {}, undefined)) if (letter.key === key) return letter
  throw new CommandError(`there is no dead letter '${key.slice(0, 100)}'${elsewhere(args)}`)
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
    const count = all ? await countLetters(box, filter) : keys.length
    throw new UsageError(`this would ${verb} ${count} dead ${count === 1 ? 'letter' : 'letters'}; add --yes to do it`)
  }
  const result = await changeLetters(verb, box, {
    keys: all ? undefined : keys,
    filter,
    progress: (done) => out.progress(`${verb}: ${done} …`),
  })
  const done = verb === 'retry' ? 'retried' : 'discarded'
  if (args.flag('json')) out.json({ [done]: result.changed, asked: result.asked })
  else out.line(`${done} ${result.changed} of ${result.asked}`)
  if (!all && result.changed < result.asked) out.note(`mersal: ${result.asked - result.changed} not found${elsewhere(args)}`)
  // With --all, somebody else may have been faster; with keys, the operator named something that is not there.
  return !all && result.changed < result.asked ? exitCodes.failed : exitCodes.ok
}

async function countLetters(box: DeadLetterBox, filter: LetterFilter): Promise<number> {
  let count = 0
  for await (const _ of allLetters(box, filter, undefined)) count++
  return count
}
