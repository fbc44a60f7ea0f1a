import { writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { Reporter, TestModule, TestSpecification } from 'vitest/node'
import { durationOf, file, root } from './durations.ts'

const BETWEEN_LINES_MS = 15_000

/**
 * Says how far a run of all tests has come, about how long the rest takes, and at the end what each
 * project took. With `MERSAL_RECORD_DURATIONS=true` it records the durations of the files.
 */
export default class Progress implements Reporter {
  #began = 0
  #said = 0
  #left = new Map<string, number>()
  #total = 0
  #files = 0

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    this.#began = performance.now()
    this.#said = this.#began
    this.#left = new Map(specifications.map(({ moduleId }) => [moduleId, durationOf(moduleId)]))
    this.#files = this.#left.size
    this.#total = sum(this.#left.values())
  }

  onTestModuleEnd({ moduleId }: TestModule): void {
    this.#left.delete(moduleId)
    const now = performance.now()
    if (now - this.#said < BETWEEN_LINES_MS || this.#left.size === 0) return
    this.#said = now
    const took = now - this.#began
    const left = sum(this.#left.values())
    const rest = (took * left) / (this.#total - left)
    say(
      `${this.#files - this.#left.size} of ${this.#files} files in ${minutes(took)}, about ${minutes(rest)} left`,
    )
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const projects = Map.groupBy(modules, ({ project }) => project.name)
    const parts = [...projects].map(
      ([name, files]) => `${name} ${minutes(sum(files.map(durationOfModule)))}`,
    )
    say(
      `${modules.length} files in ${minutes(performance.now() - this.#began)} (one after the other: ${parts.join(', ')})`,
    )
    if (process.env['MERSAL_RECORD_DURATIONS'] === 'true') record(modules)
  }
}

function durationOfModule(module: TestModule): number {
  const { duration, collectDuration, setupDuration } = module.diagnostic()
  return Math.round(duration + collectDuration + setupDuration)
}

function record(modules: readonly TestModule[]): void {
  const durations = modules
    .map((module) => [relative(root, module.moduleId), durationOfModule(module)] as const)
    .toSorted(([one], [other]) => one.localeCompare(other))
  writeFileSync(file, `${JSON.stringify(Object.fromEntries(durations), null, 2)}\n`)
}

function sum(numbers: Iterable<number>): number {
  return [...numbers].reduce((one, other) => one + other, 0)
}

function minutes(ms: number): string {
  const seconds = Math.round(ms / 1000)
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

function say(text: string): void {
  process.stderr.write(`\n--- ${text} ---\n\n`)
}
