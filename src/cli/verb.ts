import type { Arguments, OptionSpec } from './arguments.ts'
import type { Loaded } from './config/load-config.ts'
import type { Output } from './output.ts'

/** What a verb works with. */
export interface Context {
  readonly args: Arguments
  readonly out: Output
  readonly cwd: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Finds and loads the configuration, once; closed after the verb has ended. */
  readonly load: () => Promise<Loaded>
}

export interface Verb {
  readonly name: string
  /** One line for the list of verbs. */
  readonly summary: string
  /** After `mersal `. */
  readonly usage: readonly string[]
  readonly text?: string
  readonly options: Readonly<Record<string, OptionSpec>>
  readonly examples: readonly string[]
  /** Sub-verbs, the first positional argument. */
  readonly actions?: readonly string[]
  /** Resolves to the exit code. */
  run(context: Context): Promise<number>
}
