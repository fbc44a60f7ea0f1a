import fc from 'fast-check'
import { expect, test } from 'vitest'
import { describer, parseAddress } from '../../src/transports/rabbitmq/connection/address.ts'
import { holdsFor } from './check.ts'

/** Long enough not to stand in an error by chance. */
const passwords = fc
  .string({ unit: 'binary', minLength: 12, maxLength: 30 })
  .filter((text) => text.isWellFormed() && text.trim() !== '')
/** URLs that are refused, whatever the secret in them. */
const wrong = fc.constantFrom<(secret: string) => string>(
  (secret) => `amqp://user:${secret}@host:99999/vhost`,
  (secret) => `amqp://user:${secret}@[host/vhost`,
  (secret) => `http://user:${secret}@host/vhost`,
  (secret) => `amqp://user:%zz${secret}@host/vhost`,
  (secret) => `amqp://user:${secret}@host/vhost?heartbeat=1`,
  (secret) => ` user:${secret}@host`,
)

test('the error of a wrong URL shows nothing of the password', async () => {
  await holdsFor([passwords, wrong], (password, urlWith) => {
    const secret = encodeURIComponent(password)
    let error: unknown
    try {
      parseAddress(urlWith(secret))
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(Error)
    const shown = `${String(error)} ${JSON.stringify(error)} ${String((error as Error).cause)}`
    expect(shown).not.toContain(password)
    expect(shown).not.toContain(secret)
  })
})

test('user, password and host of a URL come out as they went in', async () => {
  await holdsFor([passwords, passwords], (user, password) => {
    const parts = parseAddress(
      `amqp://${encodeURIComponent(user)}:${encodeURIComponent(password)}@host:1234/v`,
    )
    expect(parts).toMatchObject({
      username: user,
      password,
      hostname: 'host',
      port: 1234,
      vhost: 'v',
    })
  })
})

test('an error of the client is shown without the secret, in whatever form it repeats it', async () => {
  const forms = [
    (text: string): string => text,
    encodeURIComponent,
    (text: string): string => Buffer.from(text).toString('base64'),
    (text: string): string => JSON.stringify(text),
  ]
  await holdsFor([passwords, fc.constantFrom(...forms), fc.lorem()], (secret, form, words) => {
    const shown = describer([secret])(
      new Error(`${words} ${form(secret)} ${words} amqp://user:${encodeURIComponent(secret)}@host`),
    )
    for (const other of forms) expect(shown).not.toContain(other(secret))
  })
})
