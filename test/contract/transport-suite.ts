import { describe, test } from 'vitest'
import { type TransportHarness, transportContract } from '../../src/testing/index.ts'

/**
 * The contract suite of a transport; `present`: what it needs is here. `together`: several cases at
 * a time, which mostly wait. Only where a broker takes nothing back from a slow machine.
 */
export function transportSuite(
  name: string,
  open: () => TransportHarness | Promise<TransportHarness>,
  present = true,
  { together = false } = {},
): void {
  describe.skipIf(!present)(name, { concurrent: together }, () => {
    for (const item of transportContract)
      test(item.name, async () => {
        await using harness = await open()
        await item.run(harness)
      })
  })
}
