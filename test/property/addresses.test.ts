import fc from 'fast-check'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { configOfEnv } from '../../src/cli/config/env-config.ts'
import { describeError } from '../../src/operate/describe-error.ts'
import { createOutput } from '../../src/cli/output.ts'
import { runProgram } from '../../src/cli/program.ts'
import type { Logger } from '../../src/core/telemetry.ts'
import { ambiguousUrl, isAmbiguousUrl } from '../../src/lib/ambiguous-url.ts'
import { toError } from '../../src/lib/async/abort.ts'
import { postgres } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { errorText } from '../../src/core/errors/error-text.ts'
import { holdsFor } from './check.ts'

/** Letters that stand in no text of ours, and what makes an address ambiguous. */
const letters = fc.constantFrom('Q', 'X', 'Z', 'J', 'W', '7')
const hard = fc.constantFrom('@', '#', '/', '?', ':', '%', '[', ']', ' ', '&', '=', '+', '!')
const secrets = fc
  .array(fc.oneof({ weight: 3, arbitrary: letters }, hard), { minLength: 4, maxLength: 24 })
  .map((parts) => parts.join(''))

/** A closed port: whatever is asked fails. */
const PLACE = '127.0.0.1:1/db'

/** Every piece of four characters that holds a letter of the secret alone. */
function pieces(secret: string): string[] {
  const all = Array.from({ length: Math.max(0, secret.length - 3) }, (_, at) =>
    secret.slice(at, at + 4),
  )
  return all.filter((piece) => /[QXZJW7]{2}/.test(piece))
}

function recorder(): { readonly logger: Logger; readonly said: string[] } {
  const said: string[] = []
  const hear = (fields: object, text: string): void => {
    said.push(
      text,
      JSON.stringify(fields, (_, value: unknown) =>
        value instanceof Error ? errorText(value) : value,
      ),
    )
  }
  return { logger: { debug: hear, info: hear, warn: hear, error: hear }, said }
}

/** What the store says of a pool with this address, down to the last cause. */
async function store(url: string): Promise<string> {
  const { logger, said } = recorder()
  const pool = new pg.Pool({ connectionString: url, connectionTimeoutMillis: 500 })
  pool.on('error', () => {})
  try {
    await postgres({ pool, logger }).open()
  } catch (thrown) {
    said.push(errorText(thrown), describeError(toError(thrown)))
  }
  return said.join('\n')
}

async function broker(url: string): Promise<string> {
  const { logger, said } = recorder()
  try {
    await using transport = rabbitmq({ url, logger, connectTimeoutMs: 500 })
    await transport.subscribe('q', [])
  } catch (thrown) {
    said.push(errorText(thrown), describeError(toError(thrown)))
  }
  return said.join('\n')
}

async function program(env: Readonly<Record<string, string>>): Promise<string> {
  let said = ''
  const stream = { write: (text: string) => void (said += text) }
  const out = createOutput(stream, stream, env)
  await runProgram(['status', '--json'], { out, cwd: process.cwd(), env })
  return said
}

describe('a password in the address', () => {
  test('is shown by nobody, not in part, however badly it is encoded', {
    timeout: 240_000,
  }, async () => {
    await holdsFor(
      [secrets],
      async (secret) => {
        const heard = [
          await store(`postgres://u:${secret}@${PLACE}`),
          await broker(`amqp://u:${secret}@${PLACE}`),
          await program({ DATABASE_URL: `postgres://u:${secret}@${PLACE}` }),
          await program({
            DATABASE_URL: 'sqlite::memory:',
            AMQP_URL: `amqp://u:${secret}@${PLACE}`,
          }),
        ].join('\n')
        for (const piece of pieces(secret)) expect(heard).not.toContain(piece)
      },
      60,
    )
  })

  test('is asked to be encoded when a client could read it in another way', async () => {
    for (const secret of [
      'hunter@2secret#x',
      'a/b',
      'a?b',
      'a:b',
      'a b',
      'a[b',
      'a]b',
      '100%',
      'a%zzb',
      '@',
      '#',
    ]) {
      const url = `postgres://u:${secret}@127.0.0.1/db`
      expect(() => postgres({ pool: new pg.Pool({ connectionString: url }) }), secret).toThrow(
        ambiguousUrl,
      )
      expect(() => rabbitmq({ url: url.replace('postgres', 'amqp') }), secret).toThrow(ambiguousUrl)
      await expect(configOfEnv({ DATABASE_URL: url }, process.cwd()), secret).rejects.toThrow(
        ambiguousUrl,
      )
    }
  })

  test('is taken as it is when it is encoded', async () => {
    await holdsFor([fc.string({ unit: 'binary' })], (secret) => {
      expect(isAmbiguousUrl(`amqp://u:${encodeURIComponent(secret)}@h/v`)).toBe(false)
    })
  })
})
