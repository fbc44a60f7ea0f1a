/**
 * Whether what tests need is here; `problem` says what is missing. Without it they are skipped, and
 * that is said loudly; where it is required, it is a failure. Default: required with CI=true.
 */
export function isPresent(
  problem: string | undefined,
  required: boolean = process.env['CI'] === 'true',
): boolean {
  if (problem === undefined) return true
  if (required) throw new Error(problem)
  process.stderr.write(`\n*** ${problem}: tests that need it are SKIPPED. ***\n`)
  return false
}
