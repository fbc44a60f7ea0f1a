import type { SchemaControl, StoreOperations } from '../core/operations.ts'
import type { Store } from '../core/store.ts'
import { CommandError, UsageError } from './exit.ts'
import type { Loaded } from './load-config.ts'

type Part = Exclude<keyof StoreOperations, never>

/** What the store offers for this verb. Throws, saying so clearly, if it offers nothing. */
export function operation<Name extends Part>(store: Store<unknown>, name: Name, verb: string): NonNullable<StoreOperations[Name]> {
  const part = store.operations?.[name]
  if (part === undefined) throw new CommandError(`the store '${store.name}' does not support 'mersal ${verb}'`)
  return part
}

interface WithSchema {
  readonly schema?: SchemaControl
}

/** Everything of the configuration that has tables: the store, and queues in databases. */
export function schemasOf({ config, transports }: Loaded): readonly SchemaControl[] {
  const queues = [...transports.values()].flatMap((transport) => (transport as WithSchema).schema ?? [])
  return [operation(config.store, 'schema', 'migrate'), ...queues]
}

/** Opens the store for looking and changing; only `migrate` and `relay` bring tables up to date. */
export async function openStore({ config }: Loaded): Promise<Store<unknown>> {
  const { store } = config
  const version = await store.operations?.schema?.version()
  if (version !== undefined && version.current < version.newest) {
    const name = store.operations?.schema?.name ?? store.name
    throw new CommandError(`${name} has version ${version.current} of ${version.newest}: run 'mersal migrate' first`)
  }
  await store.open()
  return store
}

/** Throws unless at most so many positionals are given after the first `from`. */
export function noMore(positionals: readonly string[], from: number): void {
  const extra = positionals[from]
  if (extra !== undefined) throw new UsageError(`'${extra.slice(0, 60)}' is too much; see --help`)
}
