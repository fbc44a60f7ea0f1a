/** The table of docs/evidence.md: what became of each promise in the runs of docs/reliability. */
import { join } from 'node:path'
import { promises, root, type Store, stores, sum, table, whole } from './page-parts.ts'
import type { Result } from './report.ts'

export const evidencePath: string = join(root, 'docs/evidence.md')

const begins = '<!-- Made by test/chaos/page.ts from docs/reliability/*.json. -->'
const ends = '<!-- The end of what was made. -->'

function violations(results: readonly Result[], store: Store, checks: readonly string[]): string {
  const own = results.filter((result) => result.store === store)
  const looked = own.flatMap(({ findings }) =>
    findings.filter(({ check, skipped }) => checks.includes(check) && skipped === undefined),
  )
  return looked.length === 0 ? 'not looked at' : String(sum(looked.map(({ count }) => count)))
}

function facts(results: readonly Result[]): string {
  const of = (pick: (result: Result) => number): string => whole(sum(results.map(pick)))
  const seeds = results.map(({ seed }) => seed).join(', ')
  const faults = of((result) => sum(Object.values(result.faults).map(({ landed }) => landed)))
  const committed = of(({ counts }) => counts.committed)
  return `${results.length} runs (seeds ${seeds}), ${of(({ seconds }) => seconds)} seconds, ${faults} faults, ${committed} committed messages`
}

function made(results: readonly Result[]): string {
  const names = (Object.keys(stores) as Store[]).filter((store) =>
    results.some((result) => result.store === store),
  )
  const rows = promises.map(({ name, checks }) => [
    name,
    ...names.map((store) => violations(results, store, checks)),
  ])
  const runs = names.map(
    (store) => `${stores[store]}: ${facts(results.filter((result) => result.store === store))}.`,
  )
  return `${begins}

${table(['violations in chaos runs', ...names.map((store) => stores[store])], rows)}

${runs.join('\n')}

${ends}`
}

/** The page with its table as it should be; throws where it has no place for one. */
export function evidence(text: string, results: readonly Result[]): string {
  const [from, to] = [text.indexOf(begins), text.indexOf(ends)]
  if (from < 0 || to < from)
    throw new Error(
      `docs/evidence.md has no place for the table, between '${begins}' and '${ends}'`,
    )
  return text.slice(0, from) + made(results) + text.slice(to + ends.length)
}
