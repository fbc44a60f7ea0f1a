import type { SchemaControl, StoreOperations } from '../../core/operations.ts'
import type { ServedStore } from '../../outbox/many-stores/relays-options.ts'
import { suggest } from '../../lib/suggest.ts'
import type { Arguments, OptionSpec } from '../arguments.ts'
import type { ToolStore } from './config.ts'
import { CommandError, UsageError } from '../exit.ts'
import type { Loaded } from './load-config.ts'

/** For verbs that work on one store of several. */
export const storeOption: Readonly<Record<string, OptionSpec>> = {
  store: { kind: 'text', value: 'NAME', text: "which one, where the configuration has 'stores'" },
}

/** A store of the configuration, with its transports. */
export type Served = ServedStore<ToolStore>

function named({ served, config }: Loaded, name: string): Served {
  if (config.stores === undefined)
    throw new UsageError("--store: the configuration has one store, and no 'stores' to choose from")
  const found = served.find((one) => one.name === name)
  if (found !== undefined) return found
  const near = suggest(
    name,
    served.map((one) => one.name),
  )
  throw new UsageError(
    `--store: the configuration has no store '${name.slice(0, 100)}'; ${near === undefined ? `it has ${namesOf(served)}` : `did you mean '${near}'?`}`,
  )
}

function namesOf(served: readonly Served[]): string {
  const names = served.slice(0, 10).map(({ name }) => name)
  return `${names.join(', ')}${served.length > names.length ? `, … (${served.length})` : ''}`
}

/** The store that `--store` names, or the only one. */
export function chosenStore(loaded: Loaded, args: Arguments): Served {
  const name = args.text('store')
  if (name !== undefined) return named(loaded, name)
  const [only] = loaded.served
  if (only === undefined || loaded.served.length > 1)
    throw new UsageError(`say which store: --store NAME, one of ${namesOf(loaded.served)}`)
  return only
}

/** The stores that `--store` names, with commas in between, or all. */
export function chosenStores(loaded: Loaded, args: Arguments): readonly Served[] {
  const names = args.text('store')?.split(',').filter(Boolean)
  return names === undefined
    ? loaded.served
    : [...new Set(names)].map((name) => named(loaded, name))
}

/** What is said in front of lines about this store; nothing where there is only one. */
export function labelOf({ config }: Loaded, { name }: Served): string {
  return config.stores === undefined ? '' : `${name}: `
}

type Part = Exclude<keyof StoreOperations, never>

/** What the store offers for this verb. Throws, saying so clearly, if it offers nothing. */
export function operation<Name extends Part>(
  store: ToolStore,
  name: Name,
  verb: string,
): NonNullable<StoreOperations[Name]> {
  const part = store.operations?.[name]
  if (part === undefined)
    throw new CommandError(`the store '${store.name}' does not support 'mersal ${verb}'`)
  return part
}

/** Everything that has tables: the stores, and queues in databases. */
export function schemasOf(loaded: Loaded, served: readonly Served[]): readonly SchemaControl[] {
  const own = served.map((one) => {
    const schema = operation(one.store, 'schema', 'migrate')
    return loaded.config.stores === undefined
      ? schema
      : labelled(schema, `${one.name}: ${schema.name}`)
  })
  const transports = new Set(served.flatMap(({ transports }) => [...transports.values()]))
  return [...own, ...[...transports].flatMap(({ operations }) => operations?.schema ?? [])]
}

/** The tables of sagas and of requests, which are there only where an app uses them. */
export function optionalSchemasOf(
  loaded: Loaded,
  served: readonly Served[],
): readonly SchemaControl[] {
  return served.flatMap(({ store, name }) =>
    [store.sagas?.schema, store.once?.schema]
      .filter((schema) => schema !== undefined)
      .map((schema) =>
        loaded.config.stores === undefined ? schema : labelled(schema, `${name}: ${schema.name}`),
      ),
  )
}

function labelled(schema: SchemaControl, name: string): SchemaControl {
  return {
    name,
    version: () => schema.version(),
    upgrade: () => schema.upgrade(),
    sql: (from) => schema.sql(from),
  }
}

/** Opens the store for looking and changing; only `migrate` and `relay` bring tables up to date. */
export async function openStore({ store }: Served): Promise<ToolStore> {
  const version = await store.operations?.schema?.version()
  if (version !== undefined && version.current < version.newest) {
    const name = store.operations?.schema?.name ?? store.name
    throw new CommandError(
      `${name} has version ${version.current} of ${version.newest}: run 'mersal migrate' first`,
    )
  }
  await store.open()
  return store
}

/** Throws if more than `most` positionals follow the first `from`. */
export function noMore(positionals: readonly string[], from: number): void {
  const extra = positionals[from]
  if (extra !== undefined) throw new UsageError(`'${extra.slice(0, 60)}' is too much; see --help`)
}
