import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import type { Result, UserPlace } from './run.ts'
import { runPrograms } from './run.ts'

/** `MERSAL_PROGRAMS=1000` runs more of them, `MERSAL_SEED` others. */
const count = Number(process.env['MERSAL_PROGRAMS'] ?? 60)
const seed = Number(process.env['MERSAL_SEED'] ?? 1)

export async function expectNothingWrong<Tx>(place: UserPlace<Tx>): Promise<void> {
  const results = await runPrograms(place, seed, count)
  assert.equal(results.length, count)
  tell(results)
  const wrong = results.filter(({ wrong: found }) => found.length > 0)
  assert.deepEqual(
    wrong.slice(0, 5).map(describe),
    [],
    `${wrong.length} of ${count} programs found something wrong`,
  )
  // A bus that refuses everything would pass as well.
  const committed = results.filter(({ outcome }) => outcome.kind === 'committed').length
  assert.ok(committed >= count / 3, `only ${committed} of ${count} programs were committed`)
}

export interface ProgramsReport {
  readonly programs: number
  readonly committed: number
  /** Of those with something wrong: its place in the line, from 1. */
  readonly wrong: readonly { readonly number: number; readonly wrong: readonly string[] }[]
}

/** For whoever has asked for the programs. */
function tell(results: readonly Result[]): void {
  const path = process.env['MERSAL_PROGRAMS_REPORT']
  if (path === undefined) return
  const report: ProgramsReport = {
    programs: results.length,
    committed: results.filter(({ outcome }) => outcome.kind === 'committed').length,
    wrong: results.flatMap(({ wrong }, index) =>
      wrong.length > 0 ? [{ number: index + 1, wrong }] : [],
    ),
  }
  writeFileSync(path, JSON.stringify(report))
}

function describe({ program, outcome, wrong }: Result): object {
  return {
    wrong,
    outcome: outcome.kind === 'failed' ? outcome.code : outcome.kind,
    program: JSON.stringify(program),
  }
}
