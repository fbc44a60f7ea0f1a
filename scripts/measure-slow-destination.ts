/**
 * What 10,000 messages for a destination that confirms after 500 ms cost another destination: `node
 * scripts/measure-slow-destination.ts [--rounds 3] [--slow 1] [--messages 20000]`. Rate and latency
 * of the other one, alone and beside them, in turns, so that both see the same machine; which comes
 * first changes from round to round. The last line has the medians of the ratios of the rounds,
 * which should be at least 0.95 for the rate and at most 2 for the latency. `--slow 3`: as many
 * slow destinations share the 10,000. `--json`: the same as an object.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { command, Mersal, type Transport } from '../src/index.ts'
import { sqlite } from '../src/sqlite.ts'
import { confirming } from './measuring.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    slow: { type: 'string', default: '1' },
    messages: { type: 'string', default: '20000' },
    paced: { type: 'string', default: '300' },
    json: { type: 'boolean', default: false },
  },
})
const SLOW_MESSAGES = 10_000
const SLOW_MS = 500
const PACE_MS = 10
const slowQueues = Array.from({ length: Number(values.slow) }, (_, index) => `slow-${index}`)
const Slow = slowQueues.map((queue) => command<{ n: number }>(`to.${queue}`))
const Fast = command<{ n: number }>('to.fast')

interface Arrived {
  readonly count: () => number
  readonly at: ReadonlyMap<number, number>
}

/** Confirms at once, or after half a second. */
function destinations(): { readonly transport: Transport; readonly arrived: Arrived } {
  const at = new Map<number, number>()
  let count = 0
  const transport = confirming('none', async ({ to, body }) => {
    if (to.name !== 'fast') return await sleep(SLOW_MS)
    count += 1
    at.set((JSON.parse(Buffer.from(body).toString()) as { n: number }).n, performance.now())
  })
  return { transport, arrived: { count: () => count, at } }
}

interface Figures {
  readonly rate: number
  readonly p50: number
  readonly p99: number
}

async function fill(path: string, beside: boolean): Promise<void> {
  const app = newApp(path, destinations().transport, false)
  await app.start()
  const many = async (type: typeof Fast, most: number): Promise<void> => {
    for (let from = 0; from < most; from += 2000)
      await app.transaction(async (_tx, { send }) => {
        for (let n = from; n < Math.min(from + 2000, most); n += 1) await send(type, { n })
      })
  }
  // The slow ones come first, as a backlog does.
  if (beside)
    for (const type of Slow) await many(type, Math.ceil(SLOW_MESSAGES / slowQueues.length))
  await many(Fast, Number(values.messages))
  await app.stop()
}

const newApp = (path: string, transport: Transport, runRelay: boolean): Mersal<unknown> =>
  new Mersal({
    name: 'measure',
    store: sqlite({ path }),
    transport,
    routes: {
      ...Object.fromEntries(slowQueues.map((queue) => [`to.${queue}`, queue])),
      'to.fast': 'fast',
    },
    outbox: { runRelay },
    sendOnly: true,
    logger: false,
  }) as unknown as Mersal<unknown>

async function measure(beside: boolean): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-slow-'))
  try {
    const path = join(folder, 'store.db')
    await fill(path, beside)
    const { transport, arrived } = destinations()
    const app = newApp(path, transport, true)
    const started = performance.now()
    await app.start()
    while (arrived.count() < Number(values.messages)) await sleep(5)
    const rate = (Number(values.messages) / (performance.now() - started)) * 1000
    const waits = await paced(app, arrived)
    await app.stop()
    return { rate, p50: waits[waits.length >> 1]!, p99: waits[Math.floor(waits.length * 0.99)]! }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** One message every 10 ms; how long each took from before its transaction, in order of length. */
async function paced(app: Mersal<unknown>, { at }: Arrived): Promise<number[]> {
  const sent: (readonly [number, number])[] = []
  for (let index = 0; index < Number(values.paced); index += 1) {
    const n = 1_000_000 + index
    sent.push([n, performance.now()])
    await app.transaction(async (_tx, { send }) => void (await send(Fast, { n })))
    await sleep(PACE_MS)
  }
  while (sent.some(([n]) => !at.has(n))) await sleep(5)
  return sent.map(([n, from]) => at.get(n)! - from).toSorted((a, b) => a - b)
}

const said = ({ rate, p50, p99 }: Figures): string =>
  `${Math.round(rate)}/s, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`
const ratios: { readonly rate: number; readonly p50: number; readonly p99: number }[] = []
for (let round = 1; round <= Number(values.rounds); round += 1) {
  const besideFirst = round % 2 === 0
  const first = await measure(besideFirst)
  const second = await measure(!besideFirst)
  const [alone, beside] = besideFirst ? [second, first] : [first, second]
  ratios.push({
    rate: beside.rate / alone.rate,
    p50: beside.p50 / alone.p50,
    p99: beside.p99 / alone.p99,
  })
  process.stderr.write(
    `round ${round}: alone ${said(alone)}; beside ${said(beside)}; rate ${(beside.rate / alone.rate).toFixed(2)}\n`,
  )
}
const median = (figure: keyof (typeof ratios)[number]): number => {
  const sorted = ratios.map((ratio) => ratio[figure]).toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
const medians = { rate: median('rate'), p50: median('p50'), p99: median('p99') }
process.stdout.write(
  values.json
    ? `${JSON.stringify({ rounds: ratios, medians }, null, 2)}\n`
    : `beside against alone, median of ${ratios.length} rounds: rate ${medians.rate.toFixed(2)}, p50 ${medians.p50.toFixed(2)}, p99 ${medians.p99.toFixed(2)}\n`,
)
