import { describe, expect, it, vi } from 'vitest'
import { causesOf } from '../../../../src/core/errors/causes.ts'
import {
  errorCode,
  errorText,
  errorTextWithStack,
  stackOf,
} from '../../../../src/core/errors/error-text.ts'
import { MersalError } from '../../../../src/core/errors/errors.ts'
import { stderrLogger } from '../../../../src/core/telemetry.ts'

const fromServer = (code: string, message: string): Error =>
  Object.assign(new Error(message), { name: 'error', code, severity: 'ERROR' })

describe('the text of an error', () => {
  it('names every cause with its code and the words of the server', () => {
    const cause = fromServer(
      '23505',
      'duplicate key value violates unique constraint "students_pkey"',
    )
    const error = new MersalError('MERSAL_STORE_FAILED', 'postgres: saving failed', {
      cause: new Error('a query failed', { cause }),
    })
    expect(errorText(error)).toBe(
      'MersalError: postgres: saving failed (MERSAL_STORE_FAILED); caused by Error: a query failed; caused by ' +
        'error: duplicate key value violates unique constraint "students_pkey" (23505)',
    )
    expect(errorCode(new Error('outside', { cause }))).toBe('23505')
  })

  it.each(['cause', 'parent', 'original', 'driverError', 'originalError'])(
    'finds what a library has put into %s',
    (field) => {
      const wrapped = Object.assign(new Error('the library failed'), {
        [field]: fromServer('57P03', 'the database system is starting up'),
      })
      expect(errorText(wrapped)).toContain('the database system is starting up (57P03)')
    },
  )

  it('finds what Prisma has put into meta', () => {
    const error = Object.assign(new Error('Raw query failed'), {
      code: 'P2010',
      meta: { code: '25006', message: 'cannot execute INSERT' },
    })
    expect(errorText(error)).toBe(
      'Error: Raw query failed (P2010); caused by cannot execute INSERT (25006)',
    )
  })

  it('tells every member of an AggregateError, which often has no message of its own', () => {
    const members = ['::1', '127.0.0.1'].map((host) =>
      Object.assign(new Error(`connect ECONNREFUSED ${host}:5432`), { code: 'ECONNREFUSED' }),
    )
    const text = errorText(new AggregateError(members))
    expect(text).toContain('::1:5432 (ECONNREFUSED)')
    expect(text).toContain('127.0.0.1:5432 (ECONNREFUSED)')
  })

  it('ends in a circle of causes, and in a very long chain', () => {
    const error = new Error('a')
    error.cause = new Error('b', { cause: error })
    expect(errorText(error)).toBe('Error: a; caused by Error: b')
    let long = new Error('bottom')
    for (let depth = 0; depth < 10_000; depth++) long = new Error(`level ${depth}`, { cause: long })
    expect(causesOf(long).length).toBeLessThanOrEqual(16)
    expect(errorText(long).length).toBeLessThanOrEqual(2000)
  })

  it('keeps the last cause in sight however long the first message is', () => {
    const error = new Error('x'.repeat(100_000), {
      cause: fromServer('40001', 'could not serialize access'),
    })
    expect(errorText(error).length).toBeLessThanOrEqual(2000)
    expect(errorText(error)).toContain('could not serialize access (40001)')
  })

  it('does not repeat what the error around it has said', () => {
    expect(errorText(new Error('it failed: boom', { cause: new Error('boom') }))).toBe(
      'Error: it failed: boom',
    )
  })

  it.each([
    ['connect postgres://app:hunter@2secret#x@db/orders', 'hunter'],
    ['connect amqp://app:hun/ter2@broker/', 'ter2'],
    ['the options were {"password":"hunter2"}', 'hunter2'],
    ['password = hunter2 was refused', 'hunter2'],
    ['Authorization: Bearer abcdef0123456789', 'abcdef0123456789'],
    [`${'x'.repeat(3980)} postgres://app:hunter2-and-more@db`, 'hunter'],
  ])('hides the secret in: %.60s', (message, secret) => {
    const error = new Error('outside', { cause: new Error(message) })
    expect(errorText(error)).not.toContain(secret)
    expect(errorTextWithStack(error)).not.toContain(secret)
    expect(JSON.stringify(stackOf(new Error(message)))).not.toContain(secret)
  })

  it('shows no piece of a body that is no JSON', () => {
    const cause = (() => {
      try {
        return JSON.parse('my-card-number') as unknown
      } catch (error) {
        return error
      }
    })()
    expect(errorText(new Error('unreadable', { cause }))).not.toContain('card')
    expect(errorText(new Error('unreadable', { cause }))).toContain('is not valid JSON')
  })

  it('can be stored and shown whatever was thrown', () => {
    const hostile = new Proxy(new Error('x'), {
      get() {
        throw new Error('no')
      },
    })
    const strange = [
      undefined,
      null,
      'text',
      7n,
      Symbol('s'),
      {},
      Object.create(null),
      hostile,
      new Error('a\0b\uD800'),
      Object.assign(new Error(), { message: 5 }),
    ]
    for (const thrown of strange) {
      const text = errorText(thrown)
      expect(text.length).toBeGreaterThan(0)
      expect(text).not.toContain('\0')
      expect(text.isWellFormed()).toBe(true)
    }
  })

  it('says where the error of a handler was thrown, and not where we wrapped it', () => {
    function insideTheHandler(): Error {
      return new Error('boom')
    }
    const text = errorTextWithStack(
      new MersalError('MERSAL_HANDLER_FAILED', 'the handler failed', { cause: insideTheHandler() }),
    )
    expect(text).toMatch(/\n\s+at insideTheHandler .*error-text\.test\.ts/)
    expect(text.length).toBeLessThanOrEqual(2000)
  })
})

describe('the default logger', () => {
  it('prints the causes of an error', () => {
    const written: string[] = []
    const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      written.push(String(text))
      return true
    })
    try {
      stderrLogger.warn(
        {
          error: new Error('outside', {
            cause: fromServer('53300', 'sorry, too many clients already'),
          }),
        },
        'it failed',
      )
    } finally {
      write.mockRestore()
    }
    const line = JSON.parse(written.join('')) as { error: { message: string } }
    expect(line.error.message).toBe(
      'Error: outside; caused by error: sorry, too many clients already (53300)',
    )
  })
})

it('P14: the code of an error has no secret in it either, wherever it is cut, and is well-formed', () => {
  const secret = 'geheim-7'
  for (const code of [
    `connect postgres://app:${secret}@db:5432/shop`,
    `${'x'.repeat(75)} postgres://app:${secret}@db`,
  ]) {
    const error = Object.assign(new Error('no'), { code })
    expect(errorCode(error)).not.toContain('geheim')
    expect(errorText(error)).not.toContain('geheim')
  }
  const cut = errorCode(Object.assign(new Error('no'), { code: `${'x'.repeat(99)}😀` }))
  expect([cut.length, cut.isWellFormed()]).toEqual([100, true])
})
