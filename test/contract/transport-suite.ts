import { describe, test } from 'vitest'
import { type TransportHarness, transportContract } from '../../src/testing/index.ts'

/** The contract suite of a transport; `present`: what it needs is here. */
export function transportSuite(
  name: string,
  open: () => TransportHarness | Promise<TransportHarness>,
  present = true,
): void {
  describe.skipIf(!present)(name, () => {
    for (const item of transportContract)
      test(item.name, async () => {
        await using harness = await open()
        await item.run(harness)
      })
  })
}
