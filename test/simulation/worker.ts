import { createRelay } from '../../src/outbox/relay.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { tallyOf } from './tally.ts'

// A process of its own: runs the seeds that it is told to, and answers with what came of them.
process.on('message', (range: { readonly from: number; readonly count: number }) => {
  void tallyOf(range.from, range.count, { createRelay, memoryStore }).then((tally) =>
    process.send?.(tally),
  )
})
