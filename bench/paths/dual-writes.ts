import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { type Body, bodyOf } from '../messages.ts'
import { openBull } from '../peers/bullmq.ts'
import { openBus } from '../peers/bus-core.ts'
import { commitRow } from './business.ts'
import type { OpenPath, Path, Scene } from './path.ts'

/**
 * The producers pause while more than this are under way: with a consumer slower than they are, a
 * closed loop.
 */
const MOST_OPEN = 1000

interface Other extends AsyncDisposable {
  send(number: number): Promise<unknown>
}

/**
 * Commit, then hand it to a library that knows nothing of the transaction: a crash between the two
 * loses the message.
 */
function dualWrite(
  connect: (scene: Scene, onBody: (body: Body) => void) => Promise<Other>,
): OpenPath {
  return async (scene) => {
    await using stack = new AsyncDisposableStack()
    const pool = stack.adopt(
      new Pool({ connectionString: scene.postgres.url, max: scene.connections }),
      (opened) => opened.end(),
    )
    const open = { count: 0 }
    let arrived: (body: Buffer) => void = () => {}
    const other = stack.use(
      await connect(scene, (body) => {
        open.count--
        arrived(bodyOf(Number(body.n)))
      }),
    )
    const opened = stack.move()
    const path: Path = {
      async send(number) {
        while (open.count >= MOST_OPEN) await sleep(1)
        open.count++
        await commitRow(pool)
        const committed = performance.now()
        await other.send(number)
        return committed
      },
      async consume(onBody) {
        arrived = onBody
      },
      leftOver: async () => [],
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    }
    return path
  }
}

/** Needs the scene to have a Redis. */
export const bullPath: OpenPath = dualWrite(async ({ redis, queue }, onBody) => {
  if (redis === undefined) throw new Error('BullMQ needs a Redis')
  const bull = await openBull(redis.url, queue)
  await bull.work(onBody)
  return {
    send: (number) => bull.add(number),
    [Symbol.asyncDispose]: () => bull[Symbol.asyncDispose](),
  }
})

export const busPath: OpenPath = dualWrite(({ rabbit, queue }, onBody) =>
  openBus(rabbit.url, `${queue}-bus`, onBody),
)
