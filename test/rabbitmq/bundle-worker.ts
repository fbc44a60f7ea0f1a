/**
 * A consumer in a process of its own, which ends without a word in the middle of one message: `node
 * bundle-worker.ts '<WorkerPlan as JSON>'`.
 */
import { Mersal } from '../../src/index.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { sqlite } from '../../src/sqlite.ts'
import { Note, type WorkerPlan } from './bundle-plan.ts'

const { url, path, queue, killer } = JSON.parse(process.argv[2] ?? '') as WorkerPlan
const app = new Mersal({
  name: queue,
  store: sqlite({ path }),
  transport: rabbitmq({ url, logger: false, newQueuePauseMs: 0 }),
  logger: false,
  receive: { concurrency: 1, maxDeliveries: 3 },
})
app.handle(Note, ({ n }, { tx }) => {
  tx.prepare('insert into effects (n) values (?)').run(n)
  if (n === killer) process.kill(process.pid, 'SIGKILL')
})
await app.start()
