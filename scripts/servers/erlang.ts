import { execFile } from 'node:child_process'
import { userInfo } from 'node:os'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * Evaluates an Erlang expression in the RabbitMQ server of this machine and returns its value as
 * Erlang writes it. `erl_call` takes milliseconds; `rabbitmqctl`, which stands in for it where its
 * cookie does not fit, starts a whole virtual machine.
 */
export async function evaluate(expression: string): Promise<string> {
  const answer = await quickly(expression).catch(() => undefined)
  if (answer === undefined)
    return (await run('rabbitmqctl', ['-q', 'eval', `${expression}.`])).stdout
  const value = /^\{ok, ([^]*)\}\s*$/.exec(answer)?.[1]
  if (value === undefined) throw new Error(`RabbitMQ: ${expression} failed: ${answer}`)
  return value
}

async function quickly(expression: string): Promise<string> {
  const home = userInfo().uid === 0 ? { HOME: '/var/lib/rabbitmq' } : {}
  const asked = run('erl_call', ['-r', '-sname', 'rabbit', '-e'], {
    env: { ...process.env, ...home },
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
