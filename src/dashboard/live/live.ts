import { systemClock } from '../../lib/async/clock.ts'

/** Time between two looks, in milliseconds. */
const EVERY_MS = 2000
/** Then the page asks again, and whoever has lost the right to look stays out. */
const LONGEST_MS = 300_000

interface Client {
  readonly controller: ReadableStreamDefaultController<Uint8Array>
  readonly until: number
}

/** Tells pages what there is, again and again, while there are any. */
export interface Live extends Disposable {
  readonly clients: number
  /** A stream of server-sent events; undefined: there are enough of them. */
  open(): ReadableStream<Uint8Array> | undefined
}

/** `look` never rejects. `most`: pages at a time. */
export function createLive(look: () => Promise<string>, most: number): Live {
  const clients = new Set<Client>()
  let stop: AbortController | undefined
  const leave = (client: Client, close: boolean): void => {
    if (!clients.delete(client)) return
    if (close) client.controller.close()
    if (clients.size === 0) stop?.abort()
  }

  async function run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const frame = frameOf(await look())
      for (const client of clients) {
        if (systemClock.monotonic() > client.until) leave(client, true)
        // Whoever reads slowly misses some: the next one says it all again.
        else if ((client.controller.desiredSize ?? 0) > 0) client.controller.enqueue(frame)
      }
      if (!signal.aborted) await systemClock.sleep(EVERY_MS, signal)
    }
  }

  return {
    get clients() {
      return clients.size
    },
    open() {
      if (clients.size >= most) return undefined
      let client: Client | undefined
      return new ReadableStream<Uint8Array>(
        {
          start(controller) {
            client = { controller, until: systemClock.monotonic() + LONGEST_MS }
            clients.add(client)
            stop?.abort()
            stop = new AbortController()
            void run(stop.signal)
          },
          cancel() {
            if (client !== undefined) leave(client, false)
          },
        },
        { highWaterMark: 2 },
      )
    },
    [Symbol.dispose]() {
      for (const client of clients) leave(client, true)
    },
  }
}

const encoder = new TextEncoder()
const frameOf = (text: string): Uint8Array => encoder.encode(`event: overview\ndata: ${text}\n\n`)
