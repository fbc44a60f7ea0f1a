import { CommandError } from '../exit.ts'

/** The first version that fits a range of package.json such as `^8.21.0` or `>=22.18`. */
export function lowest(range: string): readonly number[] {
  return (/\d+(?:\.\d+)*/.exec(range)?.[0] ?? '0').split('.').map(Number)
}

/** Whether `version`, such as `v24.1.0`, is `least` or newer. */
export function atLeast(version: string, least: readonly number[]): boolean {
  const parts = version.replace(/^v/, '').split('.').map(Number.parseFloat)
  for (const [index, wanted] of least.entries()) {
    const part = parts[index] ?? 0
    if (part !== wanted) return part > wanted
  }
  return true
}

/**
 * Throws `CommandError` if this Node is older than package.json wants. Without it the first thing
 * to fail would be some import.
 */
export function checkNode(version: string, range: string): void {
  if (!atLeast(version, lowest(range)))
    throw new CommandError(
      `this is Node ${version}, and mersal needs ${range}: install a newer Node`,
    )
}
