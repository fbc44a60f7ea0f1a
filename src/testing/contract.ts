/**
 * One rule that every adapter of a kind must keep, as a plain function: any test runner can run it.
 *
 * ```ts
 * for (const item of outboxContract) {
 *   test(item.name, async () => {
 *     await using harness = await openHarness()
 *     await item.run(harness)
 *   })
 * }
 * ```
 *
 * Every case wants a harness of its own, and so an empty database or broker of its own (or a
 * schema, or a prefix). A case resolves when the adapter keeps the rule, else it throws an
 * `AssertionError`.
 */
export interface ContractCase<Harness> {
  /** A sentence, unique in its suite. */
  readonly name: string
  run(harness: Harness): Promise<void>
}

/** Passing time, for adapters with a manual clock and for those with a real one. */
export interface HarnessTime {
  /**
   * Resolves when at least `ms` milliseconds have passed for the database or the broker. With a
   * real clock: wait that long; cases ask for at most some hundred milliseconds. With a manual
   * clock: advance it.
   */
  elapse(ms: number): Promise<void>
}

/** Headers that carry a trace and its baggage, as W3C writes them. */
export const traceOfSender = {
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  tracestate: 'vendor=a:b,other@place=t61rcWkgMzE',
  baggage: 'tenant=acme;private,user=%C3%BC%2C7',
} as const
