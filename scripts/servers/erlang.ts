import { execFile } from 'node:child_process'
import { userInfo } from 'node:os'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A node of Erlang. */
export interface Node {
  /** Arguments of `erl_call` that say which one it is. */
  readonly address: readonly string[]
  /** The folder with its cookie. Default the one of this user. */
  readonly home?: string
  /** Runs rabbitmqctl against it. */
  ctl(...args: readonly string[]): Promise<string>
}

const serverOfThisMachine: Node = {
  address: ['-sname', 'rabbit'],
  ...(userInfo().uid === 0 ? { home: '/var/lib/rabbitmq' } : {}),
  ctl: async (...args) => (await run('rabbitmqctl', ['-q', ...args])).stdout,
}

/**
 * Evaluates an Erlang expression in a RabbitMQ server, by default that of this machine, and returns
 * its value as Erlang writes it. `erl_call` takes milliseconds; `rabbitmqctl`, which stands in for
 * it where its cookie does not fit, starts a whole virtual machine.
 */
export async function evaluate(expression: string, node = serverOfThisMachine): Promise<string> {
  const answer = await quickly(expression, node).catch(() => undefined)
  if (answer === undefined) return await node.ctl('eval', `${expression}.`)
  const value = /^\{ok, ([^]*)\}\s*$/.exec(answer)?.[1]
  if (value === undefined) throw new Error(`RabbitMQ: ${expression} failed: ${answer}`)
  return value
}

async function quickly(expression: string, { address, home }: Node): Promise<string> {
  const environment = home === undefined ? {} : { HOME: home }
  const asked = run('erl_call', ['-r', ...address, '-e'], {
    env: { ...process.env, ...environment },
  })
  asked.child.stdin?.on('error', () => {}) // the call fails with its exit code
  asked.child.stdin?.end(`${expression}.\n`)
  return (await asked).stdout
}

/** A text as an Erlang binary. */
export function binary(text: string): string {
  return `<<${JSON.stringify(text)}/utf8>>`
}

/** The text in a value that is a list of characters. */
export function textOf(value: string): string {
  return /"([^]*)"/.exec(value)?.[1] ?? ''
}
