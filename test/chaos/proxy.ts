/** A TCP proxy between the processes and a server, for the faults of a network. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type Weather =
  | { readonly kind: 'fair' }
  /** Nothing passes in either direction, and nobody is told. */
  | { readonly kind: 'black hole' }
  /** Everything passes late, in pieces of at most so many bytes. */
  | { readonly kind: 'slow'; readonly delayMs: number; readonly chunk: number }

export interface Proxy extends AsyncDisposable {
  readonly port: number
  weather(weather: Weather): void
  /** New connections go to this port from now on. */
  leadTo(port: number): void
  /** Resets every open connection; returns how many there were. */
  reset(): number
  /** Bytes that were held back by a black hole, or sent late. */
  readonly troubled: number
}

export async function openProxy(first: number): Promise<Proxy> {
  let port = first
  const pairs = new Set<readonly [Socket, Socket]>()
  let weather: Weather = { kind: 'fair' }
  let troubled = 0
  const heals = new Set<() => void>()

  function pump(from: Socket, to: Socket): void {
    // One after the other, so that nothing overtakes.
    let before: Promise<void> = Promise.resolve()
    from.on('data', (chunk: Buffer) => {
      from.pause()
      before = before.then(() => pass(chunk, to)).then(() => void from.resume())
    })
    from.on('end', () => void before.then(() => to.end()))
  }

  async function pass(chunk: Buffer, to: Socket): Promise<void> {
    const present = weather
    switch (present.kind) {
      case 'fair':
        return await written(to, chunk)
      case 'black hole':
        troubled += chunk.length
        await new Promise<void>((resolve) => heals.add(resolve))
        return await pass(chunk, to)
      case 'slow':
      default:
        troubled += chunk.length
        await new Promise((resolve) => setTimeout(resolve, present.delayMs * (0.5 + Math.random())))
        for (let start = 0; start < chunk.length; start += present.chunk) {
          await written(to, chunk.subarray(start, start + present.chunk))
        }
    }
  }

  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    const pair = [client, upstream] as const
    pairs.add(pair)
    for (const socket of pair) {
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => {
        pairs.delete(pair)
        for (const each of pair) each.destroy()
      })
    }
    pump(client, upstream)
    pump(upstream, client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    leadTo(next) {
      port = next
    },
    weather(next) {
      weather = next
      for (const heal of heals) heal()
      heals.clear()
    },
    reset() {
      const count = pairs.size
      for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy()
      return count
    },
    get troubled() {
      return troubled
    },
    async [Symbol.asyncDispose]() {
      for (const pair of pairs) for (const socket of pair) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function written(to: Socket, chunk: Buffer): Promise<void> {
  if (to.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      to.off('drain', done)
      to.off('close', done)
      resolve()
    }
    if (to.write(chunk)) return resolve()
    to.on('drain', done)
    to.on('close', done)
  })
}
