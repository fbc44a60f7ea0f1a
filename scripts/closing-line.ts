import { readFileSync } from 'node:fs'

// Reads vitest's JSON report and the exit codes of the steps. Names each failed test once more, with
// the start of its message, for who reads only the end of a log, and prints the last line of a run:
// `N passed, N failed, N skipped`. A file that could not even be loaded, and a step that failed
// without a failed test (the checks of the house, the simulation, the crash matrix, a crashed
// runner), count as one failure each.

interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: readonly {
      readonly status: string
      readonly fullName: string
      readonly failureMessages: readonly string[]
    }[]
  }[]
}

const messageLines = 12

function failuresOf({ testResults }: Report): string[] {
  const ours = (line: string) => !line.includes('node_modules')
  const start = (text: string) => text.split('\n').filter(ours).slice(0, messageLines).join('\n')
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const failed = assertionResults.filter((result) => result.status === 'failed')
    if (failed.length === 0) return status === 'failed' ? [`${name}\n${start(message)}`] : []
    return failed.map(
      ({ fullName, failureMessages }) =>
        `${name}\n  ${fullName}\n${start(failureMessages.join('\n'))}`,
    )
  })
}

/** Undefined: the runner has left none. */
function reportIn(file: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Report
  } catch {
    return undefined
  }
}

function counts(report: Report | undefined): { passed: number; failed: number; skipped: number } {
  if (report === undefined) return { passed: 0, failed: 0, skipped: 0 }
  const unloaded = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((result) => result.status === 'failed'),
  )
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloaded.length,
    skipped: report.numPendingTests + report.numTodoTests,
  }
}

const [file = '', testsCode = '1', ...otherCodes] = process.argv.slice(2)
const report = reportIn(file)
const { passed, failed, skipped } = counts(report)
for (const failure of report === undefined ? [] : failuresOf(report))
  process.stdout.write(`failed: ${failure}\n`)
const silentTests = testsCode !== '0' && failed === 0 ? 1 : 0
const failures = failed + silentTests + otherCodes.filter((code) => code !== '0').length
process.stdout.write(`${passed} passed, ${failures} failed, ${skipped} skipped\n`)
process.exitCode = failures > 0 || passed === 0 ? 1 : 0
