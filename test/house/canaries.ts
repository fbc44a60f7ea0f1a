import { canaryPassword } from '../../scripts/servers/password.ts'

/**
 * Secrets of the tests: passwords of their servers and texts in bodies. Each begins with the same
 * word, and none may ever be printed.
 */

export { canaryPassword }

const known = [
  canaryPassword,
  'canary-s3cret',
  'canary-pg-7f3a',
  'canary-mq-91bc',
  'canary-url-55d0',
  'canary-env-2e6f',
  // What the password of each user on MySQL begins with: as bytes of base64, no rest is left.
  'canary-my5ql',
]
const plain = /canary-[0-9a-z][0-9a-z-]*/
const encoded = known.map((secret) => Buffer.from(secret).toString('base64').replace(/=+$/, ''))

/** The surroundings of the first secret in a text. */
export function canaryIn(text: string): string | undefined {
  const places = [text.search(plain), ...encoded.map((form) => text.indexOf(form))].filter(
    (at) => at >= 0,
  )
  if (places.length === 0) return undefined
  const at = Math.min(...places)
  return text.slice(Math.max(0, at - 120), at + 60)
}
