import { programHelp, verbHelp } from '../../src/cli/help.ts'
import { verbs } from '../../src/cli/verbs.ts'
import { errorCodes } from '../../src/core/errors/errors.ts'
import { logLines } from './log-lines.ts'
import { metricRows } from './metrics.ts'
import type { Exported, Model } from './model.ts'
import { databaseTables, type TablesOf } from './tables.ts'
import { code, prose, table } from './text.ts'

/** The program: what `--help` says, and the type of its configuration. */
export async function cliPage(config: string): Promise<string> {
  const all = await Promise.all(Object.values(verbs).map(async (load) => await load()))
  const block = (text: string): string => `\`\`\`text\n${text.trim()}\n\`\`\``
  return [
    '# The program `mersal`',
    prose(
      'What `npx mersal --help` and `npx mersal VERB --help` print. With explanations: [the program](../cli.md).',
    ),
    block(programHelp(all)),
    ...all.flatMap((verb) => [`## mersal ${verb.name}`, block(verbHelp(verb))]),
    config.replaceAll(/^#/gm, '##').replace(/^## .*/, '## The configuration'),
  ].join('\n\n')
}

/** `errors`: the page that explains each code. */
export function errorsPage(errors: string, { members, doc }: Exported): string {
  const rows = errorCodes.map((name) => {
    const section = errors.split(`### ${name}\n`)[1]?.split(/^#/m)[0] ?? ''
    const part = (word: string): string =>
      (
        new RegExp(`\\*\\*${word}:\\*\\* ([\\s\\S]*?)(?=\\n\\*\\*|\\n\\n|$)`).exec(section)?.[1] ??
        ''
      )
        .replaceAll(/\s+/g, ' ')
        .replaceAll(
          /\]\((?!http|\.\.)(#?)/g,
          (_, hash: string) => `](../${hash === '' ? '' : 'errors.md#'}`,
        )
        .trim()
    const link = `[\`${name}\`](../errors.md#${name.toLowerCase()})`
    return [link, part('Means')]
  })
  return [
    '# Errors',
    prose(`${doc} When each one comes, and what to do: [errors](../errors.md).`),
    members
      .map(({ name, type, doc: text }) => prose(`- \`${name}: ${type}\`: ${text}`, '  '))
      .join('\n'),
    '## Codes',
    table(['Code', 'Means'], rows),
  ].join('\n\n')
}

export function eventsPage({ members, doc }: Exported): string {
  const rows = members.map(({ name, type, doc: text }) => {
    const fields = [...type.matchAll(/readonly (\w+\??): ([^}]+?)(?= readonly|,| \}|$)/g)]
    const shown = fields.map(([, field, of]) => code(`${field}: ${of!.replace(/;$/, '').trim()}`))
    return [code(name.replaceAll("'", '')), text.replaceAll(/\s+/g, ' '), shown.join(', ')]
  })
  return [
    '# Events',
    prose(
      `${doc} Subscribe with \`diagnostics_channel.subscribe(name, listener)\`. \`app\` is the name of the app or of the relay.`,
    ),
    table(['Channel', 'When', 'Fields'], rows),
  ].join('\n\n')
}

export async function metricsPage(): Promise<string> {
  const rows = (await metricRows()).map(({ name, kind, labels, help }) => [
    code(name),
    kind,
    labels.map(code).join(', '),
    help,
  ])
  return [
    '# Metrics',
    prose(
      'What relays count: `/metrics` of `mersal relay`, in the text format of Prometheus. With several ' +
        'stores each metric of a relay has the label `store` besides. Of destinations only the ' +
        'most important have names of their own; the others share the label `other`. Apps have these ' +
        'and more: see [telemetry](../telemetry.md#health-and-metrics-of-apps).',
    ),
    table(['Metric', 'Kind', 'Labels', 'Meaning'], rows),
  ].join('\n\n')
}

export function logsPage(): string {
  const rows = logLines().map(({ level, place, text }) => [level, text, code(place)])
  return [
    '# Log lines',
    prose(
      'The default logger prints warnings and errors as JSON lines on standard error; a logger of ' +
        'your own, such as pino, gets `info` as well. Each line has fields besides its text: the ' +
        'app, the message, the error with all its causes. `…` stands for what differs from line to ' +
        'line.',
    ),
    table(['Level', 'Text', 'From'], rows),
  ].join('\n\n')
}

export function tablesPage(): string {
  const parts = databaseTables().flatMap(({ title, parts: all }) => {
    const seen = new Set<string>()
    return [
      `## ${title}`,
      ...[...all].flatMap(([part, tables]) => [`### ${part}`, ...tablesOf(tables, seen)]),
    ]
  })
  return [
    '# Tables',
    prose(
      'What `mersal migrate` makes, after all steps. Write to them only by the functions of [the ' +
        'contract in SQL](../sql-contract.md). Indexes are left out here; `mersal migrate --print` ' +
        'prints everything.',
    ),
    ...unique(parts),
  ].join('\n\n')
}

/** Headings are anchors, so each is used once. */
function unique(parts: readonly string[]): string[] {
  let database = ''
  return parts.map((part) => {
    if (part.startsWith('## ')) database = part.slice(3).split(/[ ,]/)[0]!
    return part.startsWith('### ') ? `${part} in ${database}` : part
  })
}

function tablesOf(tables: TablesOf, seen: Set<string>): string[] {
  return [...tables].flatMap(([name, columns]) => {
    if (seen.has(name)) return []
    seen.add(name)
    const rows = columns.map((column) => [code(column.name), code(column.type)])
    return [`**\`${name}\`**`, table(['Column', 'Type'], rows)]
  })
}

/** What a page of facts takes from the types. */
export function exportedOf(model: Model, path: string, name: string): Exported {
  const exported = model.get(path)?.get(name)
  if (exported === undefined) throw new Error(`mersal${path.slice(1)} has no ${name}`)
  return exported
}
