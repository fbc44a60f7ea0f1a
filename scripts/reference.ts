// Writes docs/reference from the public types, their docstrings, and the code itself.
// usage: node scripts/reference.ts          write the pages
//        node scripts/reference.ts --json   print pages and options, for a test
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './public-api.ts'
import {
  cliPage,
  errorsPage,
  eventsPage,
  exportedOf,
  logsPage,
  metricsPage,
  tablesPage,
} from './reference/fact-pages.ts'
import { type Model, readModel } from './reference/model.ts'
import { typePages } from './reference/plan.ts'
import { refusals } from './reference/refusals.ts'
import { isOptions, pagesOfTypes, type Refusals } from './reference/type-pages.ts'

const NOTE = '<!-- Made by scripts/reference.ts from the sources. Change those, not this page. -->'

const factPages: readonly (readonly [file: string, title: string])[] = [
  ['cli', 'The program `mersal`'],
  ['errors', 'Errors'],
  ['events', 'Events'],
  ['metrics', 'Metrics'],
  ['logs', 'Log lines'],
  ['tables', 'Tables'],
]

const INTRO = `# Reference

Made from the public types and from the code that checks them, so it is never out of date.

Each option says what it takes and its default. *Required* means that it has none. Names tell units:
\`Ms\` is milliseconds, \`Bytes\` is bytes, \`Seconds\` is seconds. A bad value throws a \`MersalError\` with
the code \`MERSAL_INVALID_OPTIONS\`, unless another one is named, before anything is opened. Its text
names the field and goes on as quoted behind *Error*. A name that is not known throws as well, with
the nearest known one.`

function indexPage(): string {
  const link = (file: string, title: string): string => `- [${title}](${file}.md)`
  return [
    INTRO,
    '## Types and options',
    typePages
      .filter(({ file }) => file !== 'cli')
      .map(({ file, title }) => link(file, title))
      .join('\n'),
    '## Facts',
    factPages.map(([file, title]) => link(file, title)).join('\n'),
  ].join('\n\n')
}

/** Every page of the reference by its path. */
async function referencePages(
  model: Model,
  refused: Refusals,
): Promise<ReadonlyMap<string, string>> {
  const pages = new Map(pagesOfTypes(model, refused))
  const config = pages.get('cli') ?? ''
  const errors = readFileSync(join(root, 'docs/errors.md'), 'utf8')
  pages.set('cli', await cliPage(config))
  pages.set('errors', errorsPage(errors, exportedOf(model, '.', 'MersalError')))
  pages.set('events', eventsPage(exportedOf(model, '.', 'Events')))
  pages.set('metrics', await metricsPage())
  pages.set('logs', logsPage())
  pages.set('tables', tablesPage())
  pages.set('README', indexPage())
  return new Map(
    [...pages].map(([file, text]) => [`docs/reference/${file}.md`, `${NOTE}\n\n${text}\n`]),
  )
}

/** Everything that a test looks at, as JSON. */
async function facts(): Promise<object> {
  const model = readModel()
  const refused = await refusals(model)
  const types = [...model.values()].flatMap((exports) => [...exports.values()].filter(isOptions))
  const options = types.flatMap(({ name: type, members }) =>
    members.map(({ name, optional, doc }) => ({ name: `${type}.${name}`, optional, doc })),
  )
  return {
    pages: [...(await referencePages(model, refused))],
    options,
    refused: [...refused].map(([name, text]) => [name, text ?? null]),
  }
}

if (process.argv.includes('--json')) {
  // The metrics of a relay leave a timer of seconds behind, which nobody waits for.
  process.stdout.write(JSON.stringify(await facts()), () => process.exit())
} else {
  const model = readModel()
  mkdirSync(join(root, 'docs/reference'), { recursive: true })
  for (const [path, text] of await referencePages(model, await refusals(model)))
    writeFileSync(join(root, path), text)
  process.exit()
}
