import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { durationOf } from './durations.ts'

/** Starts the files that take longest first, so that no worker is left with one at the end. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const order = ({ project }: TestSpecification): number => project.config.sequence.groupOrder
    return files.toSorted(
      (one, other) =>
        order(one) - order(other) ||
        durationOf(other.moduleId) - durationOf(one.moduleId) ||
        one.moduleId.localeCompare(other.moduleId),
    )
  }
}
