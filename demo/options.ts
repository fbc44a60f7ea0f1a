import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

export interface DemoOptions {
  readonly input: string
  readonly seed: number
  readonly part: 'both' | 'naive' | 'outbox'
  readonly keep: boolean
}

export const help = `npm run demo -- [options]

Registers students in one process and completes their financial registration in another, while
both are being killed: first the naive way (write, then publish), then with the outbox.

  --input <file>   Commands as NDJSON, one {"name": "...", "programme": "..."} per line;
                   '-' reads standard input. Default: demo/registrations.ndjson
  --seed <number>  Decides where the processes are killed. Default: 1
  --part <part>    'naive', 'outbox' or 'both'. Default: both
  --keep           Leave the database files in place and say where they are
  --help           This text

Exit code: 0 if every promise of the outbox was kept, 1 if one was broken, 2 for a wrong option or input.
`

/** Throws an `Error` with a text for the user. Returns undefined when help is asked for. */
export function readOptions(args: readonly string[]): DemoOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    strict: true,
    allowPositionals: false,
    options: {
      input: { type: 'string' },
      seed: { type: 'string', default: '1' },
      part: { type: 'string', default: 'both' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  if (!/^\d{1,9}$/.test(values.seed)) throw new Error('--seed expects a whole number from 0 to 999999999')
  const { part } = values
  if (part !== 'both' && part !== 'naive' && part !== 'outbox') throw new Error("--part expects 'naive', 'outbox' or 'both'")
  return {
    input: values.input ?? fileURLToPath(new URL('registrations.ndjson', import.meta.url)),
    seed: Number(values.seed),
    part,
    keep: values.keep,
  }
}
