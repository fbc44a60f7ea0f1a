import assert from 'node:assert/strict'
import { Mersal } from '../../app/mersal.ts'
import { command } from '../../app/send/messages.ts'
import { reject } from '../../app/receive/steer.ts'
import { headerNames } from '../../core/messages/message.ts'
import type { Transport } from '../../core/transport.ts'
import { isMersalError } from '../../core/errors/errors.ts'
import type { ContractCase } from '../contract.ts'
import { message, type TransportHarness } from './harness.ts'

const Quote = command<{ sku: string }, { sku: string; cents: number }>('contract.quote')
const PATIENCE_MS = 30_000

/** A queue that is made for the replies to one process, and goes with it. */
export const replyCases: readonly ContractCase<TransportHarness>[] = [
  {
    name: 'requests: replies come to the process that asked, a request that is given up fails, and the queue goes with the process',
    async run(harness) {
      const name = harness.name('quotes')
      const answering = new Mersal({ name, transport: await harness.open(), logger: false })
      const queues = new Set<string>()
      answering.handle(Quote, async ({ sku }, { reply, message: { headers } }) => {
        queues.add(headers[headerNames.replyTo] ?? '')
        if (sku === 'none') reject('there is no such thing')
        await reply({ sku, cents: sku.length })
      })
      await answering.start()
      const asking = await Promise.all(
        [1, 2].map(async () => {
          const transport = await harness.open()
          const app = new Mersal({
            name: harness.name('desk'),
            transport,
            sendOnly: true,
            routes: { [Quote.name]: name },
            logger: false,
          })
          await app.start()
          return app
        }),
      )
      const ask = (app: Mersal, sku: string) =>
        app.request(Quote, { sku }, { timeoutMs: PATIENCE_MS })
      const skus = Array.from({ length: 10 }, (_, index) => 'x'.repeat(index + 1))
      const answers = await Promise.all(
        skus.flatMap((sku) => asking.map(async (app) => await ask(app, sku))),
      )
      assert.deepEqual(
        answers,
        skus.flatMap((sku) => asking.map(() => ({ sku, cents: sku.length }))),
      )
      const [first, second] = asking
      assert.ok(first !== undefined && second !== undefined)
      await assert.rejects(
        ask(first, 'none'),
        (error) =>
          isMersalError(error, 'MERSAL_REQUEST_FAILED') && error.details['reason'] === 'rejected',
      )
      await first.stop()
      assert.deepEqual(await ask(second, 'late'), { sku: 'late', cents: 4 })
      await second.stop()
      await answering.stop()
      assert.equal(queues.size, 2)
      await assertGone(await harness.open(), [...queues])
    },
  },
]

/** A transport that removes no queues leaves them. */
async function assertGone(transport: Transport, queues: readonly string[]): Promise<void> {
  if (transport.removeQueue === undefined) return
  const late = queues.map((name) => message('late', { transport: 'default', kind: 'queue', name }))
  for (const outcome of await Promise.all(transport.publish(late)))
    assert.equal(outcome.kind === 'refused' && outcome.reason, 'unroutable')
}
