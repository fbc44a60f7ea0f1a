import { parseArgs } from 'node:util'

export interface DemoOptions {
  /** A file, or '-' for standard input. Undefined: the registrations of the demo itself. */
  readonly input: string | undefined
  readonly seed: number
  readonly part: 'both' | 'naive' | 'outbox'
  readonly keep: boolean
  /** Undefined: SQLite. */
  readonly database: (ServerChoice & { readonly kind: 'postgres' | 'mysql' }) | undefined
  /** Undefined: the queue in SQLite. */
  readonly broker: (ServerChoice & { readonly kind: 'rabbitmq' | 'nats' }) | undefined
}

export interface ServerChoice {
  /** Undefined: a private server. */
  readonly url: string | undefined
}

export const help = `npm run demo -- [options]

Registers students in one process and completes their financial registration in another, while
both are being killed: first the naive way (write, then publish), then with the outbox. By default over
SQLite, which needs no server.

  --input <file>   Commands as NDJSON, one {"name": "...", "programme": "..."} per line;
                   '-' reads standard input. Default: 2,000 of the demo's own
  --seed <number>  Decides where the processes are killed. Default: 1
  --part <part>    'naive', 'outbox' or 'both'. Default: both
  --postgres       Rows are in PostgreSQL: a private server is started, killed and started again
  --mysql          Rows are in MariaDB: the same
  --rabbitmq       Messages go over RabbitMQ: the same
  --nats           Messages go over NATS JetStream: the same
  --postgres-url <url>   A server that is there already; it is not killed
  --mysql-url <url>      The same
  --rabbitmq-url <url>   The same
  --nats-url <url>       The same
  --keep           Leave the database files in place and say where they are
  --help           This text

Exit code: 0 if every promise of the outbox was kept, 1 if one was broken or (with 100 commands or more)
a planned fault did not happen, 2 for a wrong option, input or server, 3 if the demo broke off, as when a
server goes away that is not its own.
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
      postgres: { type: 'boolean', default: false },
      mysql: { type: 'boolean', default: false },
      rabbitmq: { type: 'boolean', default: false },
      nats: { type: 'boolean', default: false },
      'postgres-url': { type: 'string' },
      'mysql-url': { type: 'string' },
      'rabbitmq-url': { type: 'string' },
      'nats-url': { type: 'string' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  if (!/^\d{1,9}$/.test(values.seed))
    throw new Error('--seed expects a whole number from 0 to 999999999')
  const { part } = values
  if (part !== 'both' && part !== 'naive' && part !== 'outbox')
    throw new Error("--part expects 'naive', 'outbox' or 'both'")
  return {
    input: values.input,
    seed: Number(values.seed),
    part,
    keep: values.keep,
    database: oneOf({
      postgres: serverChoice(
        'postgres-url',
        values.postgres,
        values['postgres-url'],
        /^postgres(ql)?:/,
      ),
      mysql: serverChoice('mysql-url', values.mysql, values['mysql-url'], /^mysql:/),
    }),
    broker: oneOf({
      rabbitmq: serverChoice('rabbitmq-url', values.rabbitmq, values['rabbitmq-url'], /^amqps?:/),
      nats: serverChoice('nats-url', values.nats, values['nats-url'], /^(nats|tls):/),
    }),
  }
}

/** The one that was chosen, if any. */
function oneOf<Kind extends string>(
  choices: Readonly<Record<Kind, ServerChoice | undefined>>,
): (ServerChoice & { readonly kind: Kind }) | undefined {
  const kinds = Object.keys(choices) as Kind[]
  const [kind, second] = kinds.filter((each) => choices[each] !== undefined)
  if (second !== undefined) throw new Error(`give --${kinds.join(' or --')}, and not both`)
  const choice = kind === undefined ? undefined : choices[kind]
  return kind === undefined || choice === undefined ? undefined : { ...choice, kind }
}

/** The text of an error shows no address: it may have a password. */
function serverChoice(
  option: string,
  wanted: boolean,
  url: string | undefined,
  scheme: RegExp,
): ServerChoice | undefined {
  if (url !== undefined && !scheme.test(url))
    throw new Error(`--${option} expects an address that matches ${scheme.source}`)
  return wanted || url !== undefined ? { url } : undefined
}
