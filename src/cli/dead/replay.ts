import type { KeptFilter, KeptMessages } from '../../core/operations.ts'
import { isUuid } from '../../lib/uuid.ts'
import { chosenStore, noMore, openStore, operation, storeOption } from '../config/access.ts'
import type { Arguments } from '../arguments.ts'
import { exitCodes, UsageError } from '../exit.ts'
import { jsonOption, yesOption } from '../help.ts'
import type { Output } from '../output.ts'
import type { Context, Verb } from '../verb.ts'

/** Messages put back by one transaction, which holds the locks of their keys. */
const PART = 1000

export const replay: Verb = {
  name: 'replay',
  summary: 'publish kept messages again',
  usage: ['replay [FILTER] [--new-ids] --yes'],
  text: `Moves kept messages back into the outbox, in the order in which they had left, behind the open
messages there; the relays publish them. The option keepSentMs of the store keeps confirmed messages.
Give at least one condition of the filter, or --all. Consumers of Mersal skip the ids that they
remember to have handled; with --new-ids they handle the messages again.`,
  options: {
    ...jsonOption,
    ...yesOption,
    ...storeOption,
    since: {
      kind: 'time',
      text: 'confirmed at or after: 2026-11-23T14:30Z, 2026-11-23 (UTC), or an age such as 90m, 24h, 7d',
    },
    until: { kind: 'time', text: 'confirmed before' },
    type: { kind: 'text', value: 'NAME', text: 'type of the message' },
    key: { kind: 'text', value: 'KEY', text: 'partition key' },
    destination: {
      kind: 'text',
      value: 'PLACE',
      text: 'destination such as default/queue/billing',
    },
    id: { kind: 'text', value: 'UUID', text: 'one message' },
    all: { kind: 'flag', text: 'every kept message' },
    limit: { kind: 'number', value: 'N', min: 1, text: 'at most N, the earliest first' },
    'new-ids': {
      kind: 'flag',
      text: 'give each message a new id, so that consumers handle it again',
    },
  },
  examples: [
    'mersal replay --since 2h --destination default/queue/billing',
    'mersal replay --since 2h --destination default/queue/billing --yes',
    'mersal replay --key customer-42 --new-ids --yes',
  ],
  run,
}

async function run({ args, out, load }: Context): Promise<number> {
  noMore(args.positionals, 0)
  const filter = filterOf(args)
  const served = chosenStore(await load(), args)
  const kept = operation(served.store, 'kept', 'replay')
  await openStore(served)
  const found = await kept.count(filter)
  const wanted = Math.min(found, args.number('limit') ?? found)
  if (found === 0)
    out.note(
      "mersal: no kept message matches; confirmed messages are kept only with 'keepSentMs' of the store",
    )
  if (!args.flag('yes')) {
    throw new UsageError(
      `this would replay ${wanted} of ${found} kept messages that match; add --yes to do it`,
    )
  }
  // What is confirmed meanwhile is not asked for: it would be replayed for ever.
  const replayed = await replayAll(kept, filter, { wanted, newIds: args.flag('new-ids'), out })
  if (args.flag('json')) out.json({ replayed, found })
  else out.line(`replayed ${replayed} of ${found} kept messages; the relays publish them now`)
  return exitCodes.ok
}

function filterOf(args: Arguments): KeptFilter {
  const id = args.text('id')
  if (id !== undefined && !isUuid(id)) throw new UsageError('--id: expected a UUID')
  const given = {
    since: args.time('since'),
    until: args.time('until'),
    type: args.text('type'),
    partitionKey: args.text('key'),
    destination: args.text('destination'),
    id,
  }
  const filter = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as KeptFilter
  if (Object.keys(filter).length === 0 && !args.flag('all'))
    throw new UsageError(
      'say which: --since, --until, --type, --key, --destination, --id, or --all',
    )
  if (filter.since !== undefined && filter.until !== undefined && filter.since >= filter.until)
    throw new UsageError('--since must be before --until')
  return filter
}

interface Plan {
  readonly wanted: number
  readonly newIds: boolean
  readonly out: Output
}

/** In parts, so that no transaction is long; broken off and repeated, it goes on where it was. */
async function replayAll(
  kept: KeptMessages,
  filter: KeptFilter,
  { wanted, newIds, out }: Plan,
): Promise<number> {
  let done = 0
  while (done < wanted) {
    const limit = Math.min(PART, wanted - done)
    const moved = await kept.replay(filter, { limit, newIds })
    done += moved
    out.progress(`replayed ${done} of ${wanted} …`)
    if (moved < limit) break
  }
  return done
}
