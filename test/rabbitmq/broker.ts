import { execFile } from 'node:child_process'
import { connect as connectSocket } from 'node:net'
import { promisify } from 'node:util'
import { canaryPassword } from '../house/canaries.ts'
import type { Place } from '../../scripts/servers/rabbitmq.ts'

export {
  openPrivateBroker,
  type Place,
  type PrivateBroker,
} from '../../scripts/servers/rabbitmq.ts'

const run = promisify(execFile)
/** The user of the tests on the broker of this machine; it is made when it is missing. */
const TESTER = 'mersal-tests'

/** A user of a private broker, whose password must never be seen anywhere. */
export const canary = { name: 'shop', password: 'canary-s3cret' }

function canConnect(port: number): Promise<boolean> {
  const socket = connectSocket({ host: '127.0.0.1', port })
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  }).finally(() => socket.destroy()) as Promise<boolean>
}

async function hasTools(): Promise<boolean> {
  try {
    await run('rabbitmqctl', ['version'])
    return true
  } catch {
    return false
  }
}

/** False, said loudly, when there is no RabbitMQ here; with CI=true that is a failure instead. */
export async function rabbitIsHere(): Promise<boolean> {
  if ((await canConnect(5672)) && (await hasTools())) return true
  const text =
    'RabbitMQ at 127.0.0.1:5672 and rabbitmqctl are needed for these tests, and are not here'
  if (process.env['CI'] === 'true') throw new Error(text)
  process.stderr.write(`\nSKIPPED: ${text}\n`)
  return false
}

/**
 * A vhost of its own on the broker of this machine; disposing removes it with all that is in it.
 */
export async function openVhost(): Promise<Place & AsyncDisposable> {
  const vhost = `mersal-${process.pid}-${Date.now()}`
  const ctl = async (...args: readonly string[]): Promise<string> =>
    (await run('rabbitmqctl', ['-q', ...args])).stdout
  const permit = (): Promise<string> =>
    ctl('set_permissions', '-p', vhost, TESTER, '.*', '.*', '.*')
  await ctl('add_vhost', vhost)
  // Another file of tests may make the user at the same moment.
  await permit().catch(() => ctl('add_user', TESTER, canaryPassword).then(permit, permit))
  return {
    url: `amqp://${TESTER}:${canaryPassword}@127.0.0.1:5672/${vhost}`,
    vhost,
    ctl,
    [Symbol.asyncDispose]: async () => {
      await ctl('delete_vhost', vhost)
    },
  }
}
