import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { withOwnSockets } from '../../../src/lib/own-sockets.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Opens a connection, closes it, and forgets it. */
async function passing(port: number): Promise<WeakRef<object>> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
  await once(socket, 'close')
  return new WeakRef(socket)
}

test('P9: a connection that is made again in the context of an earlier one is not kept by that', async () => {
  const server = createServer((socket) => void socket.on('error', () => {}).resume())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const { signal } = new AbortController()
  const inContext = await withOwnSockets(signal, async () => AsyncLocalStorage.snapshot())
  const again = (): Promise<WeakRef<object>> =>
    inContext(() => withOwnSockets(signal, () => passing(port)))
  const made = [await again(), await again(), await again()]
  const isKept = async (): Promise<boolean> => {
    await turn()
    collect()
    return made.some((socket) => socket.deref() !== undefined)
  }
  await expect.poll(isKept, { timeout: 5000 }).toBe(false)
  expect(inContext).toBeTypeOf('function')
  server.close()
})
