import fc from 'fast-check'

/**
 * The same values in every run; `MERSAL_SEED=...` tries others. A failure prints its seed and the
 * path to the smallest case.
 */
const seed = Number(process.env['MERSAL_SEED'] ?? 20_261_123)

/** Checks that this holds for arbitrary values. */
export async function holdsFor<Values extends [unknown, ...unknown[]]>(
  arbitraries: { [Index in keyof Values]: fc.Arbitrary<Values[Index]> },
  predicate: (...values: Values) => void | Promise<void>,
  numRuns = 300,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(...arbitraries, async (...values) => {
      await predicate(...values)
    }),
    { seed, numRuns },
  )
}
