import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CommandError } from './exit.ts'

export interface ListenPlace {
  readonly host: string
  readonly port: number
  /** Take any free port if this one is taken. */
  readonly elsewhere: boolean
}

export interface Listening extends AsyncDisposable {
  readonly address: string
}

/** Listens, and says where. Throws `CommandError`. */
export async function listenAt(server: Server, place: ListenPlace): Promise<Listening> {
  try {
    await listen(server, place.host, place.port)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EADDRINUSE' || !place.elsewhere)
      throw new CommandError(
        `port ${place.port} of ${place.host} cannot be used: ${code ?? 'unknown error'}`,
      )
    await listen(server, place.host, 0)
  }
  const { address, port, family } = server.address() as AddressInfo
  return {
    address: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
