/** What random programs found, as a part of docs/reliability.md. */
import { table } from '../chaos/page-parts.ts'
import type { Caught } from './hunt.ts'

/** What `npm run user-code -- --json` prints. */
export interface ProgramsResult {
  readonly date: string
  readonly places: readonly {
    readonly place: string
    readonly programs: number
    readonly committed: number
    readonly violations: number
  }[]
}

/** What `npm run user-code:mutants -- --json` prints. */
export interface GuardsResult {
  readonly date: string
  readonly guards: readonly (Caught & { readonly says: string })[]
}

export function programsSection(programs: ProgramsResult, { date, guards }: GuardsResult): string {
  const noticed = guards.filter(({ program }) => program !== undefined).length
  return `## Whatever a program does

\`npm run user-code\` (${programs.date}): random programs as users write them, inside one transaction: they insert and send, make savepoints, throw, swallow errors, forget
to await, end the transaction themselves, outlive it, use it late, and open others beside it. Afterwards rows and messages are compared: they share one fate, and what went wrong was said.

${table(
  ['library', 'programs', 'committed', 'violations'],
  programs.places.map(({ place, ...counts }) => [
    place,
    ...[counts.programs, counts.committed, counts.violations].map(String),
  ]),
)}

Would they notice? \`npm run user-code:mutants\` (${date}) takes away one guard at a time; ${noticed} of ${guards.length} were noticed. The last column is what the program found that was the first to notice.

${table(
  ['guard', 'library', 'noticed by program', 'what it found'],
  guards.map(({ guard, says, place, program, violation }) => [
    `${guard}: ${says}`,
    place,
    program === undefined ? '**none**' : String(program),
    violation.replaceAll('|', '\\|'),
  ]),
)}
`
}
