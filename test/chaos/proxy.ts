/** A TCP proxy between the processes and a server, for the faults of a network. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type Weather =
  | { readonly kind: 'fair' }
  /** Nothing passes in either direction, and nobody is told. */
  | { readonly kind: 'black hole' }
  /** Everything passes late, in pieces of at most this number of bytes. */
  | { readonly kind: 'slow'; readonly delayMs: number; readonly chunk: number }
  /** A thin link: all connections together carry so many bytes a second in each direction. */
  | { readonly kind: 'thin'; readonly bytesPerSecond: number }
  /** The server reads nothing, so that its window closes; what it says still passes. */
  | { readonly kind: 'server does not read' }

/** A thin link passes its bytes in pieces that take so long. */
const PIECE_MS = 20
const LATE_MS = 100

export interface Proxy extends AsyncDisposable {
  readonly port: number
  weather(weather: Weather): void
  /** New connections go to this port from now on. */
  leadTo(port: number): void
  /** Resets every open connection; returns how many there were. */
  reset(): number
  /** Bytes that were held back by a black hole, or sent late. */
  readonly troubled: number
  /** Bytes that have passed to the server, and back. */
  readonly passed: { readonly up: number; readonly down: number }
}

export async function openProxy(first: number): Promise<Proxy> {
  let port = first
  const pairs = new Set<readonly [Socket, Socket]>()
  let weather: Weather = { kind: 'fair' }
  let troubled = 0
  const heals = new Set<() => void>()

  const passed = { up: 0, down: 0 }
  /** When each direction of a thin link has passed what it took. */
  const freeAt = { up: 0, down: 0 }

  function pump(from: Socket, to: Socket, way: 'up' | 'down'): void {
    // One after the other, so that nothing overtakes.
    let before: Promise<void> = Promise.resolve()
    from.on('data', (chunk: Buffer) => {
      from.pause()
      before = before.then(() => pass(chunk, to, way)).then(() => void from.resume())
    })
    from.on('end', () => void before.then(() => to.end()))
  }

  const write = (to: Socket, chunk: Buffer, way: 'up' | 'down'): Promise<void> => {
    passed[way] += chunk.length
    return written(to, chunk)
  }

  async function passThin(
    chunk: Buffer,
    to: Socket,
    way: 'up' | 'down',
    bytesPerSecond: number,
  ): Promise<void> {
    const size = Math.max(1, Math.floor((bytesPerSecond * PIECE_MS) / 1000))
    troubled += chunk.length
    for (let start = 0; start < chunk.length; start += size) {
      const piece = chunk.subarray(start, start + size)
      const now = performance.now()
      // What a late timer has lost is caught up with, so that the rate is kept on average.
      freeAt[way] = Math.max(freeAt[way], now - LATE_MS) + (piece.length * 1000) / bytesPerSecond
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, freeAt[way] - now)))
      await write(to, piece, way)
    }
  }

  async function pass(chunk: Buffer, to: Socket, way: 'up' | 'down'): Promise<void> {
    const present = weather
    switch (present.kind) {
      case 'fair':
        return await write(to, chunk, way)
      case 'server does not read':
        if (way === 'down') return await write(to, chunk, way)
        troubled += chunk.length
        await new Promise<void>((resolve) => heals.add(resolve))
        return await pass(chunk, to, way)
      case 'black hole':
        troubled += chunk.length
        await new Promise<void>((resolve) => heals.add(resolve))
        return await pass(chunk, to, way)
      case 'thin':
        return await passThin(chunk, to, way, present.bytesPerSecond)
      case 'slow':
      default:
        troubled += chunk.length
        await new Promise((resolve) => setTimeout(resolve, present.delayMs * (0.5 + Math.random())))
        for (let start = 0; start < chunk.length; start += present.chunk) {
          await write(to, chunk.subarray(start, start + present.chunk), way)
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
    pump(client, upstream, 'up')
    pump(upstream, client, 'down')
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
    passed,
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
