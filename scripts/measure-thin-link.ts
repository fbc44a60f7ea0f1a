/**
 * What a relay gets over a thin link to RabbitMQ: `node scripts/measure-thin-link.ts [--messages
 * 4000] [--kib 16] [--link 1000000]`. Prints the seconds until every message is settled, the share
 * of what the link (bytes a second) carried in that time, copies in the queue, and memory. Before
 * it, the same bytes by amqplib alone: what the link carries while the machine is as busy as it is.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { connect } from 'amqplib'
import { command, Mersal } from '../src/index.ts'
import { rabbitmq } from '../src/rabbitmq.ts'
import { sqlite } from '../src/sqlite.ts'
import { openProxy } from '../test/chaos/proxy.ts'
import { openVhost } from './servers/vhost.ts'

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '4000' },
    kib: { type: 'string', default: '16' },
    link: { type: 'string', default: '1000000' },
  },
})
const messages = Number(values.messages)
const link = Number(values.link)
const text = 'x'.repeat(Number(values.kib) * 1024)
const Large = command<{ text: string }>('measure.large')
const queue = `measure-${randomUUID()}`

/** Ids of the messages in the queue, as the broker has them. */
async function arrived(url: string): Promise<string[]> {
  const connection = await connect(url)
  const channel = await connection.createChannel()
  const ids: string[] = []
  for (;;) {
    const got = await channel.get(queue, { noAck: true })
    if (got === false) break
    ids.push(String(got.properties.messageId))
  }
  await connection.close()
  return ids
}

const rssMiB = (): number => Math.round(process.memoryUsage.rss() / 2 ** 20)
const peakMiB = (): number =>
  Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024)

await using stack = new AsyncDisposableStack()
const place = stack.use(await openVhost())
const proxy = stack.use(await openProxy(5672))
const folder = mkdtempSync(join(tmpdir(), 'mersal-link-'))
stack.defer(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'store.db')
const newApp = (url: string, runRelay: boolean): Mersal<unknown> =>
  new Mersal({
    name: 'measure',
    store: sqlite({ path }),
    transport: rabbitmq({ url, queueType: 'classic', logger: false }),
    routes: { 'measure.large': queue },
    outbox: { runRelay },
    sendOnly: true,
    logger: false,
  }) as unknown as Mersal<unknown>

const filler = newApp(place.url, false)
await filler.start()
for (let from = 0; from < messages; from += 100)
  await filler.transaction(async (_tx, { send }) => {
    for (let n = from; n < Math.min(from + 100, messages); n += 1) await send(Large, { text })
  })
await filler.stop()
await using declaring = rabbitmq({ url: place.url, queueType: 'classic', logger: false })
await declaring.subscribe(queue, [])

/** Seconds that amqplib takes for the same bytes over the link. */
async function plainly(url: string): Promise<number> {
  const connection = await connect(url)
  const channel = await connection.createConfirmChannel()
  const began = performance.now()
  const body = Buffer.from(JSON.stringify({ text }))
  for (let n = 0; n < messages; n += 1)
    if (!channel.publish('', 'amq.nobody', body, {}, () => {}))
      await new Promise((resolve) => channel.once('drain', resolve))
  await channel.waitForConfirms()
  await connection.close()
  return (performance.now() - began) / 1000
}

const before = rssMiB()
const load = loadavg()[0] ?? 0
proxy.weather({ kind: 'thin', bytesPerSecond: link })
const throughLink = place.url.replace(':5672/', `:${proxy.port}/`)
const plain = await plainly(throughLink)
const passedBefore = proxy.passed.up
const app = newApp(throughLink, true)
await using store = sqlite({ path })
await store.open()
const began = performance.now()
await app.start()
while ((await store.admin.stats()).pending > 0) await sleep(100)
const seconds = (performance.now() - began) / 1000
const up = proxy.passed.up - passedBefore
await app.stop()
const ids = await arrived(place.url)
const bytes = messages * text.length
process.stdout.write(
  `${messages} x ${values.kib} KiB over ${link} bytes/s: ${seconds.toFixed(1)} s, ` +
    `goodput ${(bytes / seconds / link).toFixed(3)} of the link, amqplib alone ${plain.toFixed(1)} s, so ${(plain / seconds).toFixed(3)} of it, ${(up / bytes).toFixed(3)} bytes sent for each of content, ` +
    `${new Set(ids).size} messages arrived, ${ids.length - new Set(ids).size} copies, ` +
    `memory ${before} MiB before, ${peakMiB()} MiB at most; load ${load.toFixed(1)}\n`,
)
