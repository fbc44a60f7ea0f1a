import type { PauseTarget } from '../core/operations.ts'
import { checkPartitionKey } from '../core/messages/validation.ts'
import { toError } from '../lib/async/abort.ts'
import {
  chosenStore,
  noMore,
  openStore,
  operation,
  type Served,
  storeOption,
} from './config/access.ts'
import { exitCodes, UsageError } from './exit.ts'
import { jsonOption } from './help.ts'
import type { Loaded } from './config/load-config.ts'
import { isoTime, type Output, table } from './output.ts'
import { queuesOf } from '../operate/queues.ts'
import type { Context, Verb } from './verb.ts'

const text = `A pause is stored in the database. Every relay, and every app that publishes what it commits,
obeys within about a second, and after a restart too. Messages that are on their way to the broker at
that moment still arrive. Paused messages wait in the outbox: none is lost and no attempt is charged.
Later messages of their keys wait behind them, including those to other destinations.`

export const pause: Verb = {
  name: 'pause',
  summary: 'hold up a destination or a partition key, in all relays',
  usage: [
    'pause destination TRANSPORT/queue|topic/NAME [--reason TEXT]',
    'pause key KEY [--reason TEXT]',
    'pause list [--json]',
  ],
  text,
  options: {
    ...jsonOption,
    ...storeOption,
    force: { kind: 'flag', text: 'also if the configuration does not have the transport' },
    reason: { kind: 'text', value: 'TEXT', text: 'shown by status; at most 500 characters' },
  },
  examples: [
    "mersal pause destination default/queue/billing --reason 'until the migration is done'",
    'mersal pause key customer-42',
    'mersal pause list',
  ],
  actions: ['destination', 'key', 'list'],
  run: (context) => (context.args.positionals[0] === 'list' ? list(context) : set(context)),
}

export const resume: Verb = {
  name: 'resume',
  summary: 'take a pause back',
  usage: ['resume destination TRANSPORT/queue|topic/NAME', 'resume key KEY'],
  text: 'What has waited leaves within about a second, each key in its order.',
  options: { ...jsonOption, ...storeOption },
  examples: ['mersal resume destination default/queue/billing', 'mersal resume key customer-42'],
  actions: ['destination', 'key'],
  run: takeBack,
}

function targetOf({ args }: Context, verb: string): PauseTarget {
  const [kind, name] = args.positionals
  if (name === undefined)
    throw new UsageError(
      `say which: mersal ${verb} ${kind ?? ''} ${kind === 'key' ? 'KEY' : 'TRANSPORT/queue/NAME'}`,
    )
  noMore(args.positionals, 2)
  if (kind === 'key') {
    try {
      checkPartitionKey(name)
    } catch (thrown) {
      throw new UsageError(toError(thrown).message)
    }
    return { kind, name }
  }
  if (!/^[^/]+\/(?:queue|topic)\/.+$/.test(name)) {
    throw new UsageError(
      `a destination is TRANSPORT/queue/NAME or TRANSPORT/topic/NAME; did you mean default/queue/${name} or default/topic/${name}?`,
    )
  }
  return { kind: 'destination', name }
}

async function set(context: Context): Promise<number> {
  const target = targetOf(context, 'pause')
  const { args, out, load } = context
  const reason = args.text('reason') ?? ''
  if (reason.length > 500 || !reason.isWellFormed() || reason.includes('\0'))
    throw new UsageError('--reason: at most 500 characters of well-formed text')
  const loaded = await load()
  const served = chosenStore(loaded, args)
  const board = operation(served.store, 'pauses', 'pause')
  if (target.kind === 'destination' && !args.flag('force')) checkTransport(target.name, served)
  await openStore(served)
  if (target.kind === 'destination') await tellIfUnknown(target.name, loaded, served, out)
  const changed = await board.pause(target, reason)
  if (args.flag('json')) out.json({ ...target, changed })
  else
    out.line(
      `${target.kind} ${target.name} ${changed ? 'is paused; relays obey within about a second' : 'was paused already'}`,
    )
  return exitCodes.ok
}

function checkTransport(destination: string, { transports }: Served): void {
  const transport = destination.slice(0, destination.indexOf('/'))
  if (transports.size === 0 || transports.has(transport)) return
  throw new UsageError(
    `the configuration has no transport '${transport}'; it has ${[...transports.keys()].join(', ')}. To pause it all the same: --force`,
  )
}

/**
 * It may be meant for messages to come, so it is not refused; a wrong name would be noticed by
 * nobody.
 */
async function tellIfUnknown(
  destination: string,
  { config }: Loaded,
  served: Served,
  out: Output,
): Promise<void> {
  const [transport = '', kind, ...rest] = destination.split('/')
  const name = rest.join('/')
  const counted = await served.store.operations?.overview?.({ keys: 0 })
  if (counted === undefined || counted.destinations.some((row) => row.destination === destination))
    return
  const asked = kind === 'queue' && transport === 'default' ? [name] : []
  const found = (await queuesOf(config, [served], { asked, counted })).find(
    (one) => one.transport === transport,
  )
  if (kind === 'queue' && found?.queues.some(({ queue }) => queue === name) === true)
    return out.note(
      `mersal: no command waits for ${destination} now; events come to this queue by their topics, which go on: mersal pause destination ${transport}/topic/NAME`,
    )
  const more =
    kind === 'queue' && found !== undefined && found.problem === undefined
      ? `, and no queue '${name}' is known`
      : ''
  out.note(
    `mersal: no message waits for ${destination} now${more}; if the name is wrong: mersal resume destination ${destination}`,
  )
}

async function takeBack(context: Context): Promise<number> {
  const target = targetOf(context, 'resume')
  const { args, out, load } = context
  const served = chosenStore(await load(), args)
  const board = operation(served.store, 'pauses', 'resume')
  await openStore(served)
  const changed = await board.resume(target)
  if (args.flag('json')) out.json({ ...target, changed })
  else out.line(`${target.kind} ${target.name} ${changed ? 'goes on' : 'was not paused'}`)
  return exitCodes.ok
}

async function list({ args, out, load }: Context): Promise<number> {
  noMore(args.positionals, 1)
  const served = chosenStore(await load(), args)
  const board = operation(served.store, 'pauses', 'pause')
  await openStore(served)
  const pauses = await board.list()
  if (args.flag('json'))
    out.json(pauses.map(({ since, ...rest }) => ({ ...rest, since: isoTime(since) })))
  else if (pauses.length === 0) out.line('nothing is paused')
  else
    for (const line of table([
      ['kind', 'name', 'since', 'reason'],
      ...pauses.map(({ kind, name, since, reason }) => [kind, name, isoTime(since), reason]),
    ]))
      out.line(line)
  return exitCodes.ok
}
