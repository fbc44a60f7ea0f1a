import { TextDecoder } from 'node:util'
import type { DeadLetter, DeadLetterBox } from '../../core/dead-letter.ts'
import type { Arguments } from '../arguments.ts'
import { findLetter, type LetterFilter, matches, walk } from '../../operate/letters.ts'
import { CommandError, exitCodes } from '../exit.ts'
import { isoTime, type Output, table } from '../output.ts'
import type { Context } from '../verb.ts'
import { historyFacts, historyJson } from './history.ts'

/**
 * Most dead letters of a beginner are incoming ones, which the verb shows only when it is asked for
 * a queue.
 */
export function elsewhere(args: Arguments): string {
  return args.text('queue') === undefined
    ? " among the outgoing messages; --queue NAME shows the incoming ones of a queue, 'mersal dead queues' names the queues that have any"
    : ''
}

const HEAD = ['key', 'died', 'type', 'destination', 'partition key', 'reason', 'attempts', 'error']
/** Rows whose cells set the widths of the columns. */
const ROWS = 100

/** Written as they come, so that a long list takes no more memory than a short one. */
export async function list(
  box: DeadLetterBox,
  filter: LetterFilter,
  { args, out }: Context,
): Promise<number> {
  const most = args.number('limit') ?? 100
  const printer = args.flag('json') ? jsonPrinter(out, args.flag('body')) : tablePrinter(out)
  let count = 0
  let last = ''
  await walk(box, {
    after: args.text('after'),
    async decide(letter) {
      if (!matches(letter, filter)) return 'keep'
      printer.add(letter)
      last = letter.key
      // Whoever reads slowly slows this down.
      if (++count % ROWS === 0) await out.flush()
      return count === most ? 'stop' : 'keep'
    },
  })
  printer.end()
  if (count === 0 && !args.flag('json')) out.line(`no dead letters${elsewhere(args)}`)
  if (count === most) out.note(`there may be more: --after ${last}, or a higher --limit`)
  return exitCodes.ok
}

interface Printer {
  readonly add: (letter: DeadLetter) => void
  readonly end: () => void
}

function jsonPrinter(out: Output, body: boolean): Printer {
  const array = out.jsonArray()
  return { add: (letter) => array.item(jsonOf(letter, body)), end: array.end }
}

function tablePrinter(out: Output): Printer {
  let rows: string[][] = []
  let head = [HEAD]
  const end = (): void => {
    if (rows.length > 0) for (const line of table([...head, ...rows], [6])) out.line(line)
    rows = []
    head = []
  }
  return {
    add(letter) {
      rows.push(rowOf(letter))
      if (rows.length === ROWS) end()
    },
    end,
  }
}

function rowOf(letter: DeadLetter): string[] {
  return [
    letter.key,
    isoTime(letter.diedAt),
    letter.type,
    letter.place,
    letter.partitionKey === undefined
      ? ''
      : `${letter.partitionKey}${letter.blocksKey ? ' (blocked)' : ''}`,
    letter.reason,
    String(letter.attempts),
    (letter.error.split('\n')[0] ?? '').slice(0, 80),
  ]
}

function jsonOf(letter: DeadLetter, body: boolean): object {
  const { body: bytes, diedAt, withheldBytes, history, ...rest } = letter
  return {
    ...rest,
    history: historyJson(history),
    diedAt: isoTime(diedAt),
    ...(withheldBytes === undefined ? { bodyBytes: bytes.byteLength } : { withheldBytes }),
    ...(body && withheldBytes === undefined
      ? { bodyBase64: Buffer.from(bytes).toString('base64') }
      : {}),
  }
}

export async function show(
  box: DeadLetterBox,
  key: string,
  { args, out }: Context,
): Promise<number> {
  const letter = await find(box, key, args)
  if (args.flag('json')) {
    out.json(jsonOf(letter, args.flag('body')), 2)
    return exitCodes.ok
  }
  const { headers, body } = letter
  const [error = '', ...stack] = letter.error.split('\n')
  const facts: readonly (readonly [string, string])[] = [
    ['key', letter.key],
    ['direction', letter.direction],
    ['id', letter.id],
    ['type', letter.type],
    ['destination', letter.place],
    ['partition key', letter.partitionKey ?? '-'],
    ['holds back its key', letter.blocksKey ? 'yes' : 'no'],
    ['reason', letter.reason],
    ['error', error],
    ...stack.map((line) => ['', line.trim()] as const),
    ['attempts', String(letter.attempts)],
    ...historyFacts(letter.history),
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
  if (withheldBytes !== undefined)
    return `too large to be read: body, headers and type have ${withheldBytes} bytes`
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
  const found = await findLetter(box, key)
  if (found !== undefined) return found
  throw new CommandError(`there is no dead letter '${key.slice(0, 100)}'${elsewhere(args)}`)
}
