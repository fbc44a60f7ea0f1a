import { expect, test } from 'vitest'
import { toRequest } from '../../../src/dashboard/http/node.ts'

test.each(['TRACE', 'CONNECT', 'track'])(
  '%s is a wrong method, and no sign that a database is away',
  (method) => {
    const ask = {
      method,
      url: '/',
      headers: { host: 'localhost' },
      async *[Symbol.asyncIterator]() {},
    }
    expect(() => toRequest(ask, undefined)).toThrow(expect.objectContaining({ status: 405 }))
  },
)
