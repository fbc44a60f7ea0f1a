import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { binary, evaluate, textOf } from './erlang.ts'
import { canaryPassword } from './password.ts'
import type { Place } from './rabbitmq.ts'

const run = promisify(execFile)
/** The user of the tests on the broker of this machine; it is made when it is missing. */
const TESTER = 'mersal-tests'
let opened = 0

/** A vhost of a test, and what is in it. */
export interface Vhost extends Place {
  queues(): Promise<readonly string[]>
  bindings(): Promise<readonly Binding[]>
}

export interface Binding {
  /** Empty for the default exchange, to which every queue is bound. */
  readonly exchange: string
  readonly key: string
  readonly queue: string
}

/**
 * A vhost of its own on the broker of this machine; disposing removes it with all that is in it.
 */
export async function openVhost(): Promise<Vhost & AsyncDisposable> {
  const vhost = `mersal-${process.pid}-${Date.now()}-${opened++}`
  const [name, user, by] = [vhost, TESTER, 'tests'].map(binary)
  const all = binary('.*')
  // The user may be there, and another file of tests may make it at the same moment.
  await evaluate(
    `ok = rabbit_vhost:add(${name}, ${by}), ` +
      `catch rabbit_auth_backend_internal:add_user(${user}, ${binary(canaryPassword)}, ${by}), ` +
      `ok = rabbit_auth_backend_internal:set_permissions(${user}, ${name}, ${all}, ${all}, ${all}, ${by})`,
  )
  /** Rows of words, as a list of lists of binaries. */
  const rows = async (expression: string): Promise<string[][]> => {
    const joined = `lists:join("|", [lists:join(" ", Row) || Row <- ${expression}])`
    const text = textOf(await evaluate(`binary_to_list(iolist_to_binary(${joined}))`))
    return text === '' ? [] : text.split('|').map((row) => row.split(' '))
  }
  const resource = (word: string): string => `{resource, _, _, ${word}}`
  return {
    url: `amqp://${TESTER}:${canaryPassword}@127.0.0.1:5672/${vhost}`,
    vhost,
    ctl: async (...args) => (await run('rabbitmqctl', ['-q', ...args])).stdout,
    queues: async () =>
      (await rows(`[[Q] || ${resource('Q')} <- rabbit_amqqueue:list_names(${name})]`)).flat(),
    bindings: async () =>
      (
        await rows(
          `[[S, K, D] || {binding, ${resource('S')}, K, ${resource('D')}, _} <- rabbit_binding:list(${name})]`,
        )
      ).map(([exchange = '', key = '', queue = '']) => ({ exchange, key, queue })),
    [Symbol.asyncDispose]: async () => {
      await evaluate(`rabbit_vhost:delete(${name}, ${by})`)
    },
  }
}
