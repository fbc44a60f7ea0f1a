import { openBoss, QUEUE, type Job } from '../peers/pg-boss.ts'
import type { OpenRelay } from './job.ts'

const BATCH = 500
const bodyOf = ({ data }: Job): Buffer => Buffer.from(JSON.stringify(data))

/**
 * A backlog by fetch and complete, one after the other; what comes while it runs by `work`, woken
 * by NOTIFY.
 */
export const pgBoss: OpenRelay = async ({ database, expected }, sink) => {
  const boss = await openBoss(database, expected === undefined)
  let working: Promise<void> = Promise.resolve()

  async function fetchAll(): Promise<void> {
    for (;;) {
      const jobs = await boss.fetch(QUEUE, { batchSize: BATCH })
      if (jobs.length === 0) return
      await sink.publish(jobs.map(bodyOf))
      await boss.complete(
        QUEUE,
        jobs.map(({ id }) => id),
      )
    }
  }

  return {
    async start() {
      if (expected !== undefined) working = fetchAll()
      else
        await boss.work(QUEUE, { batchSize: BATCH, burstWhenBatchFull: true }, (jobs) =>
          sink.publish(jobs.map(bodyOf)),
        )
    },
    drained: () => working,
    [Symbol.asyncDispose]: () => boss.stop({ graceful: false }),
  }
}
