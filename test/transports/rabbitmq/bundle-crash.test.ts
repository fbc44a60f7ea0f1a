import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Mersal } from '../../../src/index.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { sqlite } from '../../../src/sqlite.ts'
import { temporaryFolder } from '../../contract/sqlite-harness.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'
import { Note, type WorkerPlan } from '../../rabbitmq/bundle-plan.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'

const here = await rabbitIsHere()
const worker = fileURLToPath(new URL('../../rabbitmq/bundle-worker.ts', import.meta.url))
const place = withVhost(here)

/**
 * Starts the consumer again whenever it has ended, until `done`. Returns how often it was killed.
 */
async function keepRunning(plan: WorkerPlan, done: () => Promise<boolean>): Promise<number> {
  let killed = 0
  for (;;) {
    const child: ChildProcess = spawn(process.execPath, [worker, JSON.stringify(plan)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const exit = once(child, 'exit')
    while (child.exitCode === null && child.signalCode === null && !(await done())) await sleep(100)
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await exit
      return killed
    }
    expect(child.signalCode).toBe('SIGKILL')
    killed++
  }
}

describe.skipIf(!here)('a process that dies in the middle of a bundle', () => {
  test('loses nothing and doubles no effect, and of the bundle only the message that kills it becomes a dead letter', async () => {
    using folder = temporaryFolder()
    const queue = `q-${randomUUID()}`
    const [path, killer] = [folder.file('receiver.db'), 4]
    await using transport = rabbitmq({
      url: place.url,
      logger: false,
      newQueuePauseMs: 0,
      bundles: {},
    })
    await transport.subscribe(queue, [])
    {
      const app = new Mersal({
        name: 'sender',
        sendOnly: true,
        store: sqlite({ path: folder.file('sender.db') }),
        transport: rabbitmq({ url: place.url, logger: false, bundles: {} }),
        routes: { [Note.name]: queue },
      })
      await app.start()
      await app.transaction(async (_, { send }) => {
        for (let n = 0; n < 30; n++) await send(Note, { n })
      })
      await using plain = await plainClient(place.url)
      await expect
        .poll(async () => (await plain.channel.checkQueue(queue)).messageCount, { timeout: 10_000 })
        .toBe(3)
      await app.stop()
    }
    using database = new DatabaseSync(path)
    database.exec('pragma journal_mode = wal; create table effects (n integer)')
    const effects = (): number[] =>
      database
        .prepare('select n from effects order by n')
        .all()
        .map(({ n }) => Number(n))
    const box = transport.deadLettersOf(queue)
    const done = async (): Promise<boolean> =>
      effects().length >= 29 && (await box.list()).length > 0
    const killed = await keepRunning({ url: place.url, path, queue, killer }, done)
    expect(killed).toBe(3)
    expect(effects()).toEqual(Array.from({ length: 30 }, (_, n) => n).filter((n) => n !== killer))
    const letters = await box.list()
    expect(letters.map(({ reason, body }) => [reason, Buffer.from(body).toString()])).toEqual([
      ['kills-handler', `{"n":${killer}}`],
    ])
    await using plain = await plainClient(place.url)
    expect((await plain.channel.checkQueue(queue)).messageCount).toBe(0)
  })
})
