import type { SchemaControl } from '../core/operations.ts'
import { chosenStores, noMore, optionalSchemasOf, schemasOf, storeOption } from './config/access.ts'
import { exitCodes, UsageError } from './exit.ts'
import type { Output } from './output.ts'
import type { Context, Verb } from './verb.ts'

export const migrate: Verb = {
  name: 'migrate',
  summary: 'create the tables, or bring them up to date',
  usage: ['migrate', 'migrate --check', 'migrate --print [--from N]'],
  text: `Several of these may run at the same time. The option 'migrate' of the store has no effect here.
--print needs no connection.`,
  options: {
    check: { kind: 'flag', text: 'only look; exit code 3 if steps are missing' },
    print: { kind: 'flag', text: 'print the steps as SQL instead of running them' },
    from: { kind: 'number', value: 'N', text: 'with --print: only the steps after this version' },
    json: { kind: 'flag', text: 'print JSON instead of text' },
    ...storeOption,
  },
  examples: [
    'mersal migrate',
    'mersal migrate --check || mersal migrate',
    'mersal migrate --print > outbox.sql',
  ],
  run,
}

async function run({ args, out, load }: Context): Promise<number> {
  noMore(args.positionals, 0)
  if (args.flag('check') && args.flag('print'))
    throw new UsageError('give either --check or --print')
  if (args.text('from') !== undefined && !args.flag('print'))
    throw new UsageError('--from goes with --print')
  const loaded = await load()
  const stores = chosenStores(loaded, args)
  const optional = optionalSchemasOf(loaded, stores)
  const schemas = [...schemasOf(loaded, stores), ...optional]
  if (args.flag('print')) {
    for (const schema of schemas)
      out.page(`-- ${schema.name}\n${schema.sql(args.number('from') ?? 0)}`)
    return exitCodes.ok
  }
  return args.flag('check')
    ? await check(await withoutUnused(schemas, optional), out, args.flag('json'))
    : await upgrade(schemas, out, args.flag('json'))
}

/** Without the optional tables that are not there: an app that does not use them needs none. */
async function withoutUnused(
  schemas: readonly SchemaControl[],
  optional: readonly SchemaControl[],
): Promise<readonly SchemaControl[]> {
  const unused = new Set<SchemaControl>()
  for (const schema of optional) if ((await schema.version()).current === 0) unused.add(schema)
  return schemas.filter((schema) => !unused.has(schema))
}

async function check(
  schemas: readonly SchemaControl[],
  out: Output,
  json: boolean,
): Promise<number> {
  const found = await Promise.all(
    schemas.map(async (schema) => ({ name: schema.name, ...(await schema.version()) })),
  )
  const upToDate = found.every(({ current, newest }) => current === newest)
  if (json) out.json({ upToDate, schemas: found })
  else
    for (const { name, current, newest } of found) out.line(`${name}: ${verdict(current, newest)}`)
  return upToDate ? exitCodes.ok : exitCodes.checkSaysNo
}

function verdict(current: number, newest: number): string {
  if (current === newest) return `up to date (version ${current})`
  return current === 0
    ? 'there are no tables yet'
    : `version ${current} of ${newest}, ${newest - current} steps are missing`
}

async function upgrade(
  schemas: readonly SchemaControl[],
  out: Output,
  json: boolean,
): Promise<number> {
  const done: { readonly name: string; readonly from: number; readonly to: number }[] = []
  for (const schema of schemas) {
    const { current, newest } = await schema.version()
    await schema.upgrade()
    done.push({ name: schema.name, from: current, to: newest })
    if (!json)
      out.line(
        `${schema.name}: ${current === newest ? `up to date (version ${newest})` : `from version ${current} to ${newest}`}`,
      )
  }
  if (json) out.json({ schemas: done })
  return exitCodes.ok
}
