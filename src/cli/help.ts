import type { OptionSpec } from './arguments.ts'
import type { Verb } from './verb.ts'

// Not --env-file: Node takes that one for itself, also behind the name of the program.
export const commonOptions: Readonly<Record<string, OptionSpec>> = {
  config: {
    kind: 'text',
    value: 'FILE',
    short: 'c',
    text: 'the configuration; default: the nearest mersal.config.ts, .mts, .js or .mjs, here or above in the project',
  },
  env: {
    kind: 'text',
    value: 'FILE',
    text: 'read variables from this file first; those that are set already win',
  },
  help: { kind: 'flag', short: 'h', text: 'show this help' },
}

export const jsonOption: Readonly<Record<string, OptionSpec>> = {
  json: { kind: 'flag', text: 'print JSON instead of text' },
}
/** Of verbs that list in pages. */
export const pageOptions: Readonly<Record<string, OptionSpec>> = {
  limit: {
    kind: 'number',
    value: 'N',
    min: 1,
    max: 1_000_000,
    text: 'list at most N; default 100',
  },
  after: { kind: 'text', value: 'KEY', text: 'list those after this one' },
}
export const yesOption: Readonly<Record<string, OptionSpec>> = {
  yes: {
    kind: 'flag',
    short: 'y',
    text: 'really do it; without it the verb only says what it would do',
  },
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd()).join('\n')
}

function optionRow([name, { kind, value, short, text }]: readonly [string, OptionSpec]): readonly [
  string,
  string,
] {
  const letter = short === undefined ? '    ' : `-${short}, `
  return [
    `${letter}--${name}${kind === 'flag' ? '' : ` ${value ?? (kind === 'number' ? 'N' : kind === 'time' ? 'TIME' : 'TEXT')}`}`,
    text,
  ]
}

export function verbHelp({ name, summary, usage, text, options, examples }: Verb): string {
  const parts = [
    `mersal ${name}: ${summary}`,
    `Usage:\n${usage.map((line) => `  mersal ${line}`).join('\n')}`,
    ...(text === undefined ? [] : [text]),
    `Options:\n${columns([...Object.entries(options), ...Object.entries(commonOptions)].map(optionRow))}`,
    ...(examples.length === 0
      ? []
      : [`Examples:\n${examples.map((line) => `  ${line}`).join('\n')}`]),
  ]
  return parts.join('\n\n')
}

export function programHelp(list: readonly Verb[]): string {
  return [
    'mersal: looks after the transactional outbox',
    'Usage:\n  mersal VERB [OPTIONS]\n  mersal help VERB',
    `Verbs:\n${columns(list.map(({ name, summary }) => [name, summary] as const))}`,
    `The database and the broker come from the nearest mersal.config.ts (or .mts, .js, .mjs), or else
from the environment: DATABASE_URL (postgres://…, mysql://… or sqlite:PATH), MERSAL_SCHEMA, AMQP_URL,
RABBITMQ_URL, NATS_URL, KAFKA_URL or REDIS_URL. Passwords belong there, never on the command line.`,
    `Exit codes:\n${columns([
      ['0', 'done, or a check says yes'],
      ['1', 'it failed; standard error says why'],
      ['2', 'the command line is wrong, or --yes is missing'],
      ['3', 'a check says no'],
    ])}`,
  ].join('\n\n')
}
