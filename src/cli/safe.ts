import { safeLines } from '../lib/one-line.ts'

/**
 * JSON in which every character of these kinds is escaped, so that it parses to the same value,
 * except for what `redact` changes in its texts.
 */
export function safeJson(
  value: unknown,
  redact: (text: string) => string,
  indent?: number,
): string {
  const plain = (_: string, item: unknown): unknown =>
    typeof item === 'bigint' ? item.toString() : typeof item === 'string' ? redact(item) : item
  // Line breaks stand only between values; inside of texts JSON has escaped them.
  return safeLines(JSON.stringify(value, plain, indent))
}

/** Shorter than this, a secret would hide half of the output. */
const SHORTEST = 4

/**
 * What follows `scheme://` up to the last `@`: user and password, however badly they are encoded.
 */
function userInfo(url: string): string | undefined {
  const start = url.indexOf('://')
  const end = url.lastIndexOf('@')
  return start > 0 && end > start + 3 ? url.slice(start + 3, end) : undefined
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const SECRET_NAME = /PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE/i

/** Of a variable whose name tells, so that a word such as `true` is not taken for one. */
const SHORTEST_NAMED = 8

/** The secrets in one value of the environment, or in a URL. */
export function secretsIn(value: string, name = ''): string[] {
  const found: string[] = []
  const info = userInfo(value)
  if (info?.includes(':') === true) {
    const user = info.slice(0, info.indexOf(':'))
    const password = info.slice(user.length + 1)
    // Hiding the word `postgres` or `guest` wherever it stands would hide nothing but the output.
    if (password !== user) found.push(password, decoded(password))
  }
  const query = /[?&](?:password|sslpassword)=([^&#\s]+)/i.exec(value)?.[1]
  if (query !== undefined) found.push(query, decoded(query))
  if (SECRET_NAME.test(name) && value.length >= SHORTEST_NAMED) found.push(value)
  return found.filter((secret) => secret.length >= SHORTEST)
}

/** Hides the user info of every URL, and every secret in each form in which it may be repeated. */
export function redactor(secrets: ReadonlySet<string>): (text: string) => string {
  return (text) => {
    let hidden = text
      .replace(/:\/\/[^\s/"'<>]*@/g, '://***@')
      .replace(/([?&](?:ssl)?password=)[^&\s"']+/gi, '$1***')
    const forms = [...secrets].flatMap((secret) => [
      secret,
      encodeURIComponent(secret.toWellFormed()),
      JSON.stringify(secret).slice(1, -1),
      Buffer.from(secret).toString('base64'),
    ])
    // The longest first, so that no part of one is left when another is a piece of it.
    for (const form of forms.sort((a, b) => b.length - a.length))
      hidden = hidden.replaceAll(form, '***')
    return hidden
  }
}
