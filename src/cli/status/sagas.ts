import type { SagaRecord, SagaStore } from '../../core/records/sagas.ts'
import { parseJson } from '../../lib/json.ts'
import { chosenStore, noMore, openStore, storeOption } from '../config/access.ts'
import { CommandError, exitCodes, UsageError } from '../exit.ts'
import { jsonOption } from '../help.ts'
import { isoTime, table } from '../output.ts'
import type { Context, Verb } from '../verb.ts'

const PAGE = 500

export const saga: Verb = {
  name: 'saga',
  summary: 'look at the instances of sagas',
  usage: [
    'saga list [--app NAME] [--saga NAME] [--limit N] [--json]',
    'saga show APP SAGA KEY [--json]',
  ],
  text: `'list' shows instances that have not completed, without their state; 'show' shows the state of one, which may hold personal data.
Nothing is changed.`,
  options: {
    ...jsonOption,
    ...storeOption,
    app: { kind: 'text', value: 'NAME', text: 'only sagas of this app' },
    saga: { kind: 'text', value: 'NAME', text: 'only instances of this saga' },
    limit: { kind: 'number', value: 'N', text: 'show at most this many; default 100' },
  },
  examples: ['mersal saga list --saga order', 'mersal saga show shop order o-4711'],
  actions: ['list', 'show'],
  run: (context) => (context.args.positionals[0] === 'show' ? show(context) : list(context)),
}

async function sagasOf({ args, load }: Context): Promise<SagaStore<unknown> | undefined> {
  const served = chosenStore(await load(), args)
  const { sagas, name } = served.store
  if (sagas === undefined)
    throw new CommandError(`the store '${name}' does not support 'mersal saga'`)
  await openStore(served)
  const version = await sagas.schema?.version()
  return version?.current === 0 ? undefined : sagas
}

async function list(context: Context): Promise<number> {
  const { args, out } = context
  noMore(args.positionals, 1)
  const most = args.number('limit') ?? 100
  const sagas = await sagasOf(context)
  const found = sagas === undefined ? [] : await collect(sagas, context, most)
  if (args.flag('json')) out.json(found.map((record) => summaryOf(record)))
  else if (found.length === 0) out.line('no instances')
  else {
    const rows = found.map((record) => Object.values(summaryOf(record)).map(String))
    for (const line of table([['app', 'saga', 'key', 'version', 'created', 'updated'], ...rows]))
      out.line(line)
  }
  if (found.length === most) out.note('there may be more: a higher --limit shows them')
  return exitCodes.ok
}

async function collect(
  sagas: SagaStore<unknown>,
  { args }: Context,
  most: number,
): Promise<readonly SagaRecord[]> {
  const [app, saga] = [args.text('app'), args.text('saga')]
  const which = { ...(app === undefined ? {} : { app }), ...(saga === undefined ? {} : { saga }) }
  const found: SagaRecord[] = []
  for (;;) {
    const limit = Math.min(PAGE, most - found.length)
    if (limit <= 0) return found
    const after = found.at(-1)
    const part = await sagas.list({ ...which, limit, ...(after === undefined ? {} : { after }) })
    found.push(...part)
    if (part.length < limit) return found
  }
}

interface Summary {
  readonly app: string
  readonly saga: string
  readonly key: string
  readonly version: number
  readonly created: string
  readonly updated: string
}

function summaryOf({ app, saga, key, version, createdAt, updatedAt }: SagaRecord): Summary {
  return { app, saga, key, version, created: isoTime(createdAt), updated: isoTime(updatedAt) }
}

async function show(context: Context): Promise<number> {
  const { args, out } = context
  const [, app, saga, key] = args.positionals
  if (app === undefined || saga === undefined || key === undefined)
    throw new UsageError('say which: mersal saga show APP SAGA KEY')
  noMore(args.positionals, 4)
  const sagas = await sagasOf(context)
  const [record] = (await sagas?.list({ app, saga, key, limit: 1 })) ?? []
  if (record === undefined)
    throw new CommandError(`the saga '${saga}' of the app '${app}' has no instance '${key}'`)
  const { id, state, timeouts } = record
  const { numbers } = parseJson(timeouts) as { readonly numbers: object }
  const waiting = Object.keys(numbers)
  const shown = { ...summaryOf(record), id, timeouts: waiting, state: parseJson(state) }
  if (args.flag('json')) out.json(shown)
  else
    for (const [name, value] of Object.entries(shown))
      out.line(`${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
  return exitCodes.ok
}
