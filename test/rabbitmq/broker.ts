import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { canaryPassword } from '../house/canaries.ts'
import { binary, evaluate, textOf } from '../../scripts/servers/erlang.ts'
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

/** A vhost of a test. */
export interface Vhost extends Place, AsyncDisposable {
  /** Every queue, and both ends of every binding, by name. */
  names(): Promise<readonly string[]>
}

let opened = 0

/**
 * A vhost of its own on the broker of this machine; disposing removes it with all that is in it.
 */
export async function openVhost(): Promise<Vhost> {
  const vhost = `mersal-${process.pid}-${Date.now()}-${opened++}`
  const [name, user, by] = [vhost, TESTER, 'tests'].map(binary)
  const all = '<<".*">>'
  // Another file of tests may make the user at the same moment; the last word counts.
  await evaluate(
    `ok = rabbit_vhost:add(${name}, ${by}), ` +
      `catch rabbit_auth_backend_internal:add_user(${user}, ${binary(canaryPassword)}, ${by}), ` +
      `ok = rabbit_auth_backend_internal:set_permissions(${user}, ${name}, ${all}, ${all}, ${all}, ${by})`,
  )
  return {
    url: `amqp://${TESTER}:${canaryPassword}@127.0.0.1:5672/${vhost}`,
    vhost,
    ctl: async (...args) => (await run('rabbitmqctl', ['-q', ...args])).stdout,
    names: async () =>
      textOf(
        await evaluate(
          `binary_to_list(iolist_to_binary(lists:join(" ", ` +
            `[Q || {resource, _, _, Q} <- rabbit_amqqueue:list_names(${name})] ++ ` +
            `lists:append([[S, D] || {binding, {resource, _, _, S}, _, {resource, _, _, D}, _} <- rabbit_binding:list(${name})]))))`,
        ),
      )
        .split(' ')
        .filter((each) => each !== ''),
    [Symbol.asyncDispose]: async () => {
      await evaluate(`rabbit_vhost:delete(${name}, ${by})`)
    },
  }
}
