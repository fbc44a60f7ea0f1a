import { describe, expect, test } from 'vitest'
import { withoutSecrets } from '../../../src/lib/secrets.ts'

/** Texts as servers, clients and programs write them into errors. */
const texts = [
  'POST /token?access_token=s3cr3t-canary&state=1 failed',
  'the options were {"client_secret":"s3cr3t-canary","id":1}',
  "{ accessToken: 's3cr3t-canary' }",
  'DB_PASSWORD=s3cr3t-canary PGPASSWORD=s3cr3t-canary',
  'AWS_SECRET_ACCESS_KEY=s3cr3t-canary',
  '{"privateKey":"s3cr3t-canary"}',
  'AccountName=shop;AccountKey=s3cr3t-canary==;EndpointSuffix=core',
  String.raw`body {\"password\":\"s3cr3t-canary\",\"user\":1}`,
  String.raw`{"password":"half\"s3cr3t-canary"}`,
  String.raw`twice {\\\"token\\\":\\\"s3cr3t-canary\\\"}`,
  '{"passwords":["one","s3cr3t-canary"]}',
  'Authorization: ApiKey s3cr3t-canary',
  "headers: { authorization: 's3cr3t-canary' }",
  'Cookie: theme=dark; session=s3cr3t-canary',
  "'set-cookie': 'sid=s3cr3t-canary; Path=/'",
  'x-api-key: s3cr3t-canary',
  "ALTER ROLE shop PASSWORD 's3cr3t-canary'",
  "create user shop identified by 's3cr3t-canary'",
  'jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzM2NyM3QtY2FuYXJ5In0.s3cr3t-canary-signature',
  '-----BEGIN PRIVATE KEY-----\ns3cr3t-canary\n-----END PRIVATE KEY-----',
  '-----BEGIN RSA PRIVATE KEY-----\ns3cr3t-canary and cut',
]

describe('P14', () => {
  test.each(texts)('hides what is secret in: %s', (text) => {
    expect(withoutSecrets(text)).not.toMatch(/canary|eyJzd/)
  })

  test.each([
    "column 'token_count' of table 'passwords' does not exist",
    'the handler of orders.placed failed for key customer-7',
    'no partition key: customer-7',
    'compass: north, bypass: none',
    'syntax error at or near "select"',
    'default/queue/secrets-rotated does not answer (ECONNREFUSED 127.0.0.1:5432)',
  ])('leaves what is none: %s', (text) => {
    expect(withoutSecrets(text)).toBe(text)
  })

  test('takes no longer than the text is long', () => {
    const began = performance.now()
    for (const piece of ['a-', 'password', '"token":"', '\\', 'cookie', '-----BEGIN ', '://', '.'])
      withoutSecrets(piece.repeat(4000))
    expect(performance.now() - began).toBeLessThan(1000)
  })
})
