import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A way to a broker on which connections are counted. */
export interface CountingProxy extends AsyncDisposable {
  readonly port: number
  /** Times at which a connection was tried. */
  readonly tries: readonly number[]
}

/** Passes everything on to this port of this machine; with no port, hangs up at once. */
export async function openProxy(target?: number): Promise<CountingProxy> {
  const tries: number[] = []
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    tries.push(performance.now())
    sockets.add(near)
    near.on('error', () => {})
    if (target === undefined) {
      near.destroy()
      return
    }
    const far = connect({ host: '127.0.0.1', port: target })
    sockets.add(far)
    far.on('error', () => near.destroy())
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    near.pipe(far).pipe(near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    tries,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
