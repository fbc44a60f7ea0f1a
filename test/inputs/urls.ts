import { configOfEnv } from '../../src/cli/config/env-config.ts'
import { createOutput } from '../../src/cli/output.ts'
import { describeError } from '../../src/operate/describe-error.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { parseAddress } from '../../src/transports/rabbitmq/connection/address.ts'
import { toError } from '../../src/lib/async/abort.ts'
import type { Trial, Verdict } from './input.ts'
import { logger } from './places.ts'
import { canaries, hear, refuses } from './soundness.ts'

const SECRET = canaries.url
const HARD = `${SECRET}:@/#?%&'"`

type Expected =
  | 'refused'
  | { readonly password: string; readonly host?: string; readonly vhost?: string }

const urls: readonly (readonly [name: string, url: unknown, expected: Expected])[] = [
  ['password encoded', `amqp://u:${encodeURIComponent(HARD)}@h/v`, { password: HARD }],
  ['password with a colon', `amqp://u:a:${SECRET}@h`, 'refused'],
  ['password with an at sign', `amqp://u:a@${SECRET}@h`, 'refused'],
  ['password with a slash', `amqp://u:a/${SECRET}@h`, 'refused'],
  ['password with a hash', `amqp://u:a#${SECRET}@h`, 'refused'],
  ['password with a per cent sign', `amqp://u:%${SECRET}%@h`, 'refused'],
  ['password with a space', `amqp://u:a b${SECRET}@h`, 'refused'],
  [
    'encoded twice',
    `amqp://u:${encodeURIComponent(encodeURIComponent(HARD))}@h`,
    { password: encodeURIComponent(HARD) },
  ],
  ['no host', `amqp://u:${SECRET}@`, 'refused'],
  ['space in the host', `amqp://u:${SECRET}@my host/v`, 'refused'],
  ['a port that is none', `amqp://u:${SECRET}@h:99999`, 'refused'],
  ['IPv6', `amqp://u:${SECRET}@[::1]:5673/v`, { password: SECRET, host: '::1' }],
  ['IPv6 with a zone', `amqp://u:${SECRET}@[fe80::1%25eth0]/`, 'refused'],
  ['password in the query', `amqp://h/v?password=${SECRET}`, 'refused'],
  ['two passwords in the query', `amqp://h/?sslpassword=${SECRET}&password=${SECRET}2`, 'refused'],
  ['a downgrade in the query', `amqp://u:${SECRET}@h/v?sslmode=disable`, 'refused'],
  ['scheme file:', `file:///etc/${SECRET}`, 'refused'],
  ['scheme http:', `http://u:${SECRET}@169.254.169.254/latest`, 'refused'],
  ['scheme javascript:', `javascript:alert('${SECRET}')`, 'refused'],
  ['a socket', `unix:/var/run/${SECRET}`, 'refused'],
  ['several hosts', `amqp://u:${SECRET}@h1:1,h2:2/v`, 'refused'],
  ['options of PostgreSQL', `amqp://u:${SECRET}@h/v?options=-c%20search_path=evil`, 'refused'],
  ['JNDI', `\${jndi:ldap://evil/${SECRET}}`, 'refused'],
  ['an array', [`amqp://u:${SECRET}@h`], 'refused'],
  ['an object', { host: 'h', password: SECRET }, 'refused'],
  ['vhost encoded badly', `amqp://u:${SECRET}@h/%zz`, 'refused'],
  ['line break', `amqp://u:${SECRET}\r\n@h/v\u001b[2J`, 'refused'],
  ['no scheme', `u:${SECRET}@h/v`, 'refused'],
]

async function broker(url: unknown, expected: Expected): Promise<Verdict> {
  if (expected === 'refused')
    return refuses('MERSAL_INVALID_OPTIONS', () => rabbitmq({ url: url as string, logger }))
  const transport = rabbitmq({ url: url as string, logger })
  hear(JSON.stringify(transport))
  await transport[Symbol.asyncDispose]()
  const { password, hostname } = parseAddress(url)
  if (password !== expected.password) throw new Error('the password was not understood')
  if (expected.host !== undefined && hostname !== expected.host)
    throw new Error(`the host was taken for ${String(hostname)}`)
  return 'round trip'
}

/** The program with this URL in the environment: it may fail, but not tell. */
async function program(url: string): Promise<void> {
  for (const env of [
    { DATABASE_URL: url },
    { DATABASE_URL: 'sqlite::memory:', AMQP_URL: url },
    { DATABASE_URL: url.replace('amqp', 'postgres') },
  ]) {
    let said = ''
    const stream = { write: (text: string) => void (said += text) }
    const out = createOutput(stream, stream, env)
    try {
      const config = await configOfEnv(env, process.cwd())
      if (url.includes('://') && url.includes('@')) out.note(`the configuration of ${url}`)
      await config.transport?.[Symbol.asyncDispose]()
      await config.close?.()
    } catch (thrown) {
      out.note(describeError(toError(thrown)))
      out.log({ error: toError(thrown).message })
    }
    hear(said)
  }
}

/** Judged once, since no server is asked. */
const once: NonNullable<Trial['on']> = ({ adapter }) => adapter === 'memory'

export const addresses: readonly Trial[] = urls.map(([name, url, expected]) => ({
  name,
  on: once,
  async run() {
    if (typeof url === 'string') await program(url)
    return broker(url, expected)
  },
}))
