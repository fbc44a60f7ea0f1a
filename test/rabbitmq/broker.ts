import { existsSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'

export {
  openPrivateBroker,
  type Place,
  type PrivateBroker,
} from '../../scripts/servers/rabbitmq.ts'

/** A user of a private broker, whose password must never be seen anywhere. */
export const canary = { name: 'shop', password: 'canary-s3cret' }

function canConnect(port: number): Promise<boolean> {
  const socket = connectSocket({ host: '127.0.0.1', port })
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  }).finally(() => socket.destroy()) as Promise<boolean>
}

function hasTools(): boolean {
  const folders = (process.env['PATH'] ?? '').split(':')
  return folders.some((folder) => existsSync(join(folder, 'rabbitmqctl')))
}

/** False, said loudly, when there is no RabbitMQ here; with CI=true that is a failure instead. */
export async function rabbitIsHere(): Promise<boolean> {
  if (hasTools() && (await canConnect(5672))) return true
  const text =
    'RabbitMQ at 127.0.0.1:5672 and rabbitmqctl are needed for these tests, and are not here'
  if (process.env['CI'] === 'true') throw new Error(text)
  process.stderr.write(`\nSKIPPED: ${text}\n`)
  return false
}

export { openVhost, type Vhost } from './vhost.ts'
