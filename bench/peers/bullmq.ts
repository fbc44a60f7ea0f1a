import { type Body, jsonOf } from '../messages.ts'
import { loadPeer } from './load.ts'

interface Closing {
  close(): Promise<void>
}

interface Queue extends Closing {
  add(name: string, data: Body, options: object): Promise<unknown>
  waitUntilReady(): Promise<unknown>
}

interface Worker extends Closing {
  waitUntilReady(): Promise<unknown>
  on(name: 'error', listener: (error: Error) => void): void
}

/** What the benchmark uses of BullMQ. */
interface BullMq {
  readonly Queue: new (name: string, options: object) => Queue
  readonly Worker: new (
    name: string,
    work: (job: { readonly data: Body }) => Promise<void>,
    options: object,
  ) => Worker
}

export interface Bull extends AsyncDisposable {
  add(number: number): Promise<unknown>
  work(onBody: (body: Body) => void): Promise<void>
}

/** A queue in this Redis, whose finished jobs are removed. */
export async function openBull(url: string, name: string): Promise<Bull> {
  const { Queue, Worker } = await loadPeer<BullMq>('bullmq')
  await using stack = new AsyncDisposableStack()
  const connection = {
    host: new URL(url).hostname,
    port: Number(new URL(url).port),
    maxRetriesPerRequest: null,
  }
  const queue = stack.adopt(new Queue(name, { connection }), (opened) => opened.close())
  await queue.waitUntilReady()
  const opened = stack.move()
  return {
    add: (number) =>
      queue.add('happened', jsonOf(number), { removeOnComplete: true, removeOnFail: true }),
    async work(onBody) {
      const worker = opened.adopt(
        new Worker(name, async ({ data }) => onBody(data), { connection, concurrency: 100 }),
        (started) => started.close(),
      )
      worker.on('error', (error) => process.stderr.write(`bullmq: ${error.message}\n`))
      await worker.waitUntilReady()
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
