import type { RefusedMessage, StoreOperations } from '../../core/operations.ts'
import { chosenStore, noMore, openStore, operation, storeOption } from '../config/access.ts'
import { CommandError, exitCodes, UsageError } from '../exit.ts'
import { jsonOption, pageOptions } from '../help.ts'
import { isoTime, table } from '../output.ts'
import type { Context, Verb } from '../verb.ts'
import { historyFacts, historyJson } from './history.ts'

const PAGE = 500

export const refused: Verb = {
  name: 'refused',
  summary: 'look at open messages that were tried in vain',
  usage: ['refused list [--limit N] [--after KEY] [--json]', 'refused show KEY [--json]'],
  text: `They wait for another try, and become dead letters when no attempt is left. 'show' tells what became
of each attempt. KEY is the first column of 'list'. Nothing is changed.`,
  options: {
    ...jsonOption,
    ...storeOption,
    ...pageOptions,
  },
  examples: ['mersal refused list', 'mersal refused show 1742'],
  actions: ['list', 'show'],
  run: (context) => (context.args.positionals[0] === 'show' ? show(context) : list(context)),
}

type Listing = NonNullable<StoreOperations['refused']>

async function listingOf({ args, load }: Context): Promise<Listing> {
  const store = await openStore(chosenStore(await load(), args))
  return operation(store, 'refused', 'refused')
}

async function list(context: Context): Promise<number> {
  const { args, out } = context
  noMore(args.positionals, 1)
  const most = args.number('limit') ?? 100
  const found = await collect(await listingOf(context), args.text('after'), most)
  if (args.flag('json')) out.json(found.map(jsonOf))
  else if (found.length === 0) out.line('no open message was tried in vain')
  else for (const line of table([HEAD, ...found.map(rowOf)], [5])) out.line(line)
  const last = found.at(-1)
  if (found.length === most && last !== undefined)
    out.note(`there may be more: --after ${last.key}, or a higher --limit`)
  return exitCodes.ok
}

async function collect(
  listing: Listing,
  after: string | undefined,
  most: number,
): Promise<readonly RefusedMessage[]> {
  const found: RefusedMessage[] = []
  for (let last = after; found.length < most; ) {
    const limit = Math.min(PAGE, most - found.length)
    const page = await listing({ limit, ...(last === undefined ? {} : { after: last }) })
    found.push(...page)
    last = page.at(-1)?.key
    if (page.length < limit) break
  }
  return found
}

const HEAD = ['key', 'due', 'type', 'destination', 'partition key', 'attempts', 'error']

const rowOf = (message: RefusedMessage): string[] => [
  message.key,
  isoTime(message.dueAt),
  message.type,
  message.place,
  message.partitionKey ?? '',
  String(message.attempts),
  (message.history.at(-1)?.error ?? 'not known').slice(0, 80),
]

const jsonOf = ({ dueAt, history, ...rest }: RefusedMessage): object => ({
  ...rest,
  dueAt: isoTime(dueAt),
  history: historyJson(history),
})

async function show(context: Context): Promise<number> {
  const { args, out } = context
  const [, key] = args.positionals
  if (key === undefined) throw new UsageError('name one message: mersal refused show KEY')
  noMore(args.positionals, 2)
  const message = await find(await listingOf(context), key)
  if (args.flag('json')) {
    out.json(jsonOf(message), 2)
    return exitCodes.ok
  }
  const facts: readonly (readonly [string, string])[] = [
    ['key', message.key],
    ['id', message.id],
    ['type', message.type],
    ['destination', message.place],
    ['partition key', message.partitionKey ?? '-'],
    ['attempts', String(message.attempts)],
    ...historyFacts(message.history),
    ['due', isoTime(message.dueAt)],
  ]
  for (const line of table(facts)) out.line(line)
  return exitCodes.ok
}

/** The keys are numbers, in order. */
async function find(listing: Listing, key: string): Promise<RefusedMessage> {
  const number = /^[1-9]\d{0,17}$/.test(key) ? BigInt(key) : undefined
  const [found] =
    number === undefined ? [] : await listing({ limit: 1, after: String(number - 1n) })
  if (found?.key === key) return found
  throw new CommandError(
    `there is no open message '${key.slice(0, 100)}' that was tried in vain; 'mersal dead show' shows one that was given up`,
  )
}
