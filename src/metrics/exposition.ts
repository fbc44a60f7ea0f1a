import { oneLine } from '../lib/one-line.ts'

/** One value with its labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Metric {
  readonly name: string
  readonly kind: 'counter' | 'gauge'
  readonly help: string
  readonly samples: readonly Sample[]
}

/**
 * The text format 0.0.4 of Prometheus escapes `\\` and `"` in labels; what no terminal should meet
 * is escaped before, each to something of its own.
 */
function label(text: string): string {
  return oneLine(text.replaceAll('\t', '\\u{9}')).replaceAll('\\', '\\\\').replaceAll('"', '\\"')
}

function line(name: string, { labels, value }: Sample): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${label(text)}"`)
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`
}

/** The text format of Prometheus, version 0.0.4. */
export function exposition(metrics: readonly Metric[]): string {
  return `${metrics
    .filter(({ samples }) => samples.length > 0)
    .flatMap(({ name, kind, help, samples }) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${kind}`,
      ...samples.map((sample) => line(name, sample)),
    ])
    .join('\n')}\n`
}
