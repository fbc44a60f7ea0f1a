import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A TCP proxy in front of a server, for the faults of a network. */
export interface CuttingProxy extends AsyncDisposable {
  readonly port: number
  /**
   * From now on, a connection on which the client sends this text is cut as soon as the server has
   * answered it; the answer is withheld.
   */
  cutAfter(text: string): void
  /** From now on, nothing passes on the connections that are open, and nobody is told. */
  freeze(): void
  /**
   * From now on, a connection on which the client sends this text is frozen; the text does not
   * pass.
   */
  freezeAt(text: string): void
  /**
   * From now on, nothing passes on any connection, open or new, and nobody is told: a server that
   * stands still.
   */
  freezeAll(): void
  /** Connections that have been accepted so far. */
  readonly accepted: number
}

export async function cuttingProxy(host: string, port: number): Promise<CuttingProxy> {
  const sockets = new Set<Socket>()
  const frozen = new Set<Socket>()
  let trigger: string | undefined
  let accepted = 0
  let freezer: string | undefined
  let still = false
  const server = createServer((client) => {
    accepted++
    const upstream = connect(port, host)
    let cut = false
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    client.on('data', (chunk) => {
      if (freezer !== undefined && chunk.toString('latin1').toLowerCase().includes(freezer))
        frozen.add(client)
      if (still || frozen.has(client)) return
      if (trigger !== undefined && chunk.toString('latin1').toLowerCase().includes(trigger)) {
        cut = true
        trigger = undefined
      }
      upstream.write(chunk)
    })
    upstream.on('data', (chunk) => {
      if (cut) {
        client.destroy()
        upstream.destroy()
      } else if (!still && !frozen.has(client)) client.write(chunk)
    })
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => {
      if (!still && !frozen.has(client)) client.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    cutAfter: (text) => {
      trigger = text.toLowerCase()
    },
    freeze: () => {
      for (const socket of sockets) frozen.add(socket)
    },
    freezeAt: (text) => {
      freezer = text.toLowerCase()
    },
    freezeAll: () => {
      still = true
    },
    get accepted() {
      return accepted
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
