/** The outcome of a run as text. */
import type { StoreKind } from './plan.ts'
import type { Outcome } from './run.ts'

/** What `--json` prints, and what docs/reliability.md is made from. */
export interface Result extends Outcome {
  /** Repeats the run. */
  readonly command: string
  readonly store: StoreKind
  readonly seed: number
  readonly date: string
}

const featuresLine = (features: Result['counts']['features']): string =>
  features === undefined
    ? ''
    : `  features   ${features.sagas} sagas, ${features.requests} requests once, ${features.steps} messages handled in order\n`

export function report(result: Result): string {
  const { counts, duplicates, recovery, memory, faults } = result
  const findings = result.findings.map(({ check, says, count, witnesses, skipped }) => {
    const state = skipped === undefined ? (count === 0 ? 'ok' : String(count)) : '–'
    return `  ${check.padEnd(16)} ${state.padStart(6)}  ${skipped ?? says}${witnesses.map((text) => `\n${' '.repeat(27)}${text}`).join('')}`
  })
  const landed = Object.entries(faults).map(
    ([name, { landed: times, missed }]) =>
      `${name} ${times}${missed > 0 ? ` (${missed} missed)` : ''}`,
  )
  const causes = Object.entries(duplicates.causes).map(([cause, times]) => `${times} ${cause}`)
  return `
${findings.join('\n')}

  faults     ${landed.join(', ')}
  messages   ${counts.committed} committed, ${counts.published} published, ${counts.effects} effects, ${counts.deadLetters} dead letters
${featuresLine(counts.features)}  history    ${counts.rolledBack} rolled back, ${counts.commitsUnknown} commits and ${counts.unknown} publishes unknown, ${counts.redeliveries} redeliveries
  duplicates ${duplicates.surplus} copies too many; copies with a cause: ${causes.join(', ') || 'none'}
  recovery   median ${recovery.medianMs} ms, longest ${recovery.mostMs} ms, after ${recovery.faults} faults
  memory     at most ${memory.mostMiB} MiB in a process, growth ${memory.mostGrowthMiB} MiB; after collecting garbage ${memory.mostLiveMiB} MiB, growth ${memory.mostLiveGrowthMiB} MiB
  versions   ${Object.entries(result.versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}
  time       ${result.seconds} s

${result.verdict.toUpperCase()}${result.reasons.length > 0 ? `: ${result.reasons.join('; ')}` : ''}
${result.kept === undefined ? '' : `repeat:  ${result.command}\nhistory: ${result.kept}\n`}`
}
