import { runGraphile } from '../peers/graphile-worker.ts'
import type { OpenRelay } from './job.ts'

export const graphileWorker: OpenRelay = async ({ database }, sink) => {
  let runner: Awaited<ReturnType<typeof runGraphile>> | undefined
  return {
    async start() {
      runner = await runGraphile(database, (body) =>
        sink.publish([Buffer.from(JSON.stringify(body))]),
      )
    },
    drained: () => sink.all,
    [Symbol.asyncDispose]: async () => {
      await runner?.stop()
    },
  }
}
