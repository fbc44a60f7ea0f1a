import { expect, test } from 'vitest'
import { isFaultOfTls, tlsRemedy } from '../../../../src/core/errors/tls-faults.ts'

const make = (message: string, code?: string): Error =>
  Object.assign(new Error(message), code === undefined ? {} : { code })

test.each([
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'give the certificate of the authority as `ca`'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'give the certificate of the authority as `ca`'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'give the certificate of the authority as `ca`'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'give the certificate of the authority as `ca`'],
  ['CERT_HAS_EXPIRED', 'renew it'],
  ['CERT_NOT_YET_VALID', 'renew it'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'as `servername`'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'switch TLS on at the server'],
  ['HANDSHAKE_NO_SSL_SUPPORT', 'switch TLS on at the server'],
  ['ER_SECURE_TRANSPORT_REQUIRED', 'set TLS in the options of the client'],
  ['ERR_SSL_NO_PROTOCOLS_AVAILABLE', 'no secure connection could be made'],
])('%s has a remedy: %s', (code, remedy) => {
  const wrapped = new Error('a library failed', { cause: make('it failed', code) })
  expect([isFaultOfTls(wrapped), tlsRemedy(wrapped)]).toEqual([
    true,
    expect.stringContaining(remedy),
  ])
})

test.each(['ECONNREFUSED', 'ECONNRESET', 'ERR_TLS_HANDSHAKE_TIMEOUT', '28P01', 'CERTAIN'])(
  '%s is no fault of TLS, although its text says so',
  (code) => {
    const error = make('self-signed certificate', code)
    expect([isFaultOfTls(error), tlsRemedy(error)]).toEqual([false, undefined])
  },
)
